"""The pieces of the screens, each with its layout in the .kv file of the same name.

Imported before the window is made: edges are smoothed by `app.widgets.shapes`, so the window is
asked for without multisampling.
"""

from kivy.config import Config

Config.set("graphics", "multisamples", "0")

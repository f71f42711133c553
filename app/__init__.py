"""The phone app: opens a bundle, classifies a photo here or split with a server, shows which.

    main -> kivy_app -> screens, widgets, theme      what is drawn; the only files that import kivy
                 \\-> controller -> worker            UI thread in, inference thread out
                           \\-> classifier           bundle, runtime session and engine; owns them
                                 state, wording      what the screen shows, as values and as words

Everything but `kivy_app`, `screens/` and `widgets/` runs and is tested without a screen.
"""

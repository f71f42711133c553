"""What was found on this device, to keep and to show to others.

contents.py   the report's values, and their sections in words
redaction.py  no address, code, key or folder of a person's is ever in one
sources.py    from what the app's presenters show to the report's values
saving.py     JSON, Markdown and the trace of decisions, written whole
sharing.py    Android's and Apple's share sheets
presenter.py  behind the Report screen
"""

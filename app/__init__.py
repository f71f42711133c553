"""The phone app: six pages around models that run here, or split with a companion server.

    main -> kivy_app -> screens, widgets, theme   what is drawn; the only files that import kivy
                 \\-> application                 every part, once, wired; no kivy from here on
                        live, sources             frames in, answers out, on a thread of their own
                        models                    what is installed, and what the server offers
                        offloading                why each frame went where it did
                        benchmark, report, machine  what was measured, on what
                        settings, servers, guide  what the person chose
    agent                                         a job without a window

Behind each page stands a presenter (`presenter.py`): frozen states out, gestures in, never
blocking. Everything but `kivy_app`, `screens/`, `widgets/` and `sources/camera_kivy` runs without
a screen.
"""

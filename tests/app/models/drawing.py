"""Runs the app on its Models page for `tests.app.models.test_screen`, as `tests.app.drawing` does.

The job has two things more: `models`, a folder of bundles that `["fill"]` installs, and `server`,
an address that `["serve"]` sets.
"""

from __future__ import annotations

import shutil
from typing import Any

from tests.app.drawing import Artist, draw


class ModelsArtist(Artist):
    """Waits for what the page does, and sees the question over it as well."""

    def calm(self) -> bool:
        from app.models.state import Check, Phase, Reach

        state = self.app.application.models.state
        unsure = (Check.LISTED, Check.CHECKING)
        at_work = (Phase.WAITING, Phase.RUNNING, Phase.INSTALLING)
        return (
            state.installed is not None
            and not state.busy
            and not state.looking
            and state.catalogue.reach is not Reach.ASKING
            and not any(card.check in unsure for card in state.installed)
            and not any(download.phase in at_work for download in state.downloads.values())
        )

    def begin(self, scene: dict[str, Any]) -> None:
        self.app.application.models.answer(delete=False)
        super().begin(scene)

    def widgets(self) -> list[Any]:
        from kivy.core.window import Window

        return [
            widget for child in reversed(Window.children) for widget in child.walk(restrict=True)
        ]

    def do_fill(self) -> None:
        own = self.app.application.folder / "models"
        shutil.rmtree(own, ignore_errors=True)
        shutil.copytree(self.job["models"], own)
        self.app.application.models.refresh()

    def do_empty(self) -> None:
        shutil.rmtree(self.app.application.folder / "models", ignore_errors=True)
        self.app.application.models.refresh()

    def do_serve(self, server: str) -> None:
        self.app.application.preferences.change(server=server)

    def do_confirm(self) -> None:
        """The last button called Delete is that of the question."""
        [*_, button] = [w for w in self.widgets() if getattr(w, "text", "") == "Delete"]
        button.trigger_action(0)

    def do_drop(self, path: str) -> None:
        from kivy.core.window import Window

        Window.dispatch("on_drop_file", path.encode(), 0, 0)


if __name__ == "__main__":
    draw(ModelsArtist)

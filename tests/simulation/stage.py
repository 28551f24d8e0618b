"""Where stories of payments are told again and again, each time somebody else dying."""

import multiprocessing
from pathlib import Path
from typing import Any

import msgspec

from commerce.kernel.ids import uuid7
from commerce.kernel.sql import Database
from tests import counter
from tests.shop import make_shop
from tests.simulation import crashing
from tests.simulation.crashing import Scene
from tests.simulation.story import Moment
from tests.stripe_server import FakeStripeServer

KILLED = -9
OURSELVES = 0


class Clean(msgspec.Struct, frozen=True):
    """A story in which nobody died: the boundaries that it passed, and how it ended."""

    boundaries: list[str]
    end: dict[str, Any]


class Stage(msgspec.Struct, frozen=True):
    """Where stories are told again and again."""

    db: Database
    stripe: FakeStripeServer
    folder: Path

    async def scene(self) -> Scene:
        """A new shop, and an order to be."""
        shop = await make_shop(self.db, skus=1, stores=1)
        order_id = uuid7()
        return Scene(
            dsn=self.db.dsn,
            stripe_url=self.stripe.url,
            shop=shop,
            who=counter.associate(shop),
            order_id=order_id,
            at=Moment().at,
            boundaries=self.folder / order_id.hex,
        )

    async def clean(self, name: str) -> Clean:
        """Tell a story in which nobody dies."""
        scene = await self.scene()
        assert in_a_process(crashing.live, scene, name, None, OURSELVES) == 0
        boundaries = scene.boundaries.read_text().splitlines()
        assert in_a_process(crashing.finish, scene, name) == 0
        return Clean(boundaries, await crashing.end_of(scene, self.db))

    async def crash(self, name: str, number: int, clean: Clean) -> None:
        """Tell it again, die at that boundary, and see that it ends the same."""
        scene = await self.left_lying(name, number)
        assert scene.boundaries.read_text().splitlines() == clean.boundaries[:number]
        await self.compare(scene, name, number, clean)

    async def crash_twice(self, name: str, number: int, clean: Clean) -> list[str]:
        """Die at that boundary, then die at each boundary of the sweep that takes over.

        Returns the boundaries of the sweep.
        """
        scene = await self.left_lying(name, number)
        assert in_a_process(crashing.sweep, scene, None) == 0
        boundaries = scene.boundaries.with_suffix(".sweep").read_text().splitlines()
        await self.compare(scene, name, number, clean)
        for second in range(1, len(boundaries) + 1):
            scene = await self.left_lying(name, number)
            assert in_a_process(crashing.sweep, scene, second) == KILLED
            await self.compare(scene, name, number, clean)
        return boundaries

    async def left_lying(self, name: str, number: int) -> Scene:
        """A story whose process has died at that boundary."""
        scene = await self.scene()
        assert in_a_process(crashing.live, scene, name, number, OURSELVES) == KILLED
        return scene

    async def compare(self, scene: Scene, name: str, number: int, clean: Clean) -> None:
        """After a crash: everybody goes on, and it ends the same."""
        assert in_a_process(crashing.finish, scene, name) == 0
        died = clean.boundaries[number - 1]
        assert await crashing.end_of(scene, self.db) == clean.end, f"{name}, died at {died}"


def in_a_process(target: Any, *args: Any) -> int:
    """Run it in a fresh process of its own; how that ended."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.simulation.crashing"])
    process = context.Process(target=target, args=args)
    process.start()
    process.join(60)
    assert process.exitcode is not None, "it hangs"
    return process.exitcode

"""`for frame, people in pose.stream(source)`: films, folders, pictures and webcams, live."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from .batch_following import BatchFollower
from .following import Follower, FollowOptions
from .io.frames import FrameSource, Webcam, open_frames
from .one_euro import OneEuroOptions
from .refine import DEFAULT_SANITY, DEFAULT_STREAM_SMOOTHING, StreamRefiner
from .sanity import SanityOptions
from .second_look import SecondLookOptions, look_again
from .types import Boxes, People

if TYPE_CHECKING:
    from .io.images import ImageArray


class Pose(Protocol):
    """What is asked of a `pipeline.DWPose`."""

    detector: Any
    estimator: Any
    searches: bool

    def __call__(self, images: Any, **options: Any) -> Any:
        """People of some pictures."""
        ...


def make_follower(
    pose: Pose,
    options: FollowOptions | None = None,
    second_look: SecondLookOptions | None = None,
) -> Follower:
    """Return a `Follower` that works with these networks; a `BatchFollower` where a batch is set.

    Without a detector the main person, and nobody else, is looked for in the whole picture, as for
    single pictures, wherever the detector would run. With the built-in detector everybody is looked
    for as in single pictures.

    Args:
        pose: the networks.
        options: how people are followed.
        second_look: look again at small hands and faces; None does not.
    """

    def look_at_all(images: Any) -> list[Boxes]:
        return [people.boxes for people in pose(list(images))]

    def look_twice(images: Any, boxes: Any) -> list[People]:
        return look_again(images, pose.estimator(images, boxes), pose.estimator, second_look)

    estimate = pose.estimator if second_look is None else look_twice
    options = options or FollowOptions()
    kind = BatchFollower if options.batch else Follower
    if pose.detector is None:
        return kind(look_at_all, estimate, replace(options, max_people=1))
    return kind(look_at_all if pose.searches else pose.detector, estimate, options)


def stream(
    pose: Pose,
    source: Any,
    *,
    fps: float | None = None,
    start: int = 0,
    options: FollowOptions | None = None,
    second_look: SecondLookOptions | None = None,
    sanity: SanityOptions | None = DEFAULT_SANITY,
    smoothing: OneEuroOptions | None = DEFAULT_STREAM_SMOOTHING,
    **numbers: Any,
) -> Iterator[tuple[ImageArray, People]]:
    """Follow people through a film as it comes; memory does not grow with its length.

    What comes out knows the past alone. For a film that is there as a whole, `video.run_film` or
    `refine.refine` steady better, because they know the future too.

    Args:
        pose: the networks.
        source: a film's path, a folder of pictures, an iterable of pictures (also a batch
            [B, H, W, 3]) or the number of a webcam, which is stopped by leaving the loop.
        fps: frames a second where the source does not know; 25 when None.
        start: pass over so many frames.
        options: how people are followed. A webcam's default is a stride of 1, so that nothing
            waits for the next frame; for all else it is 4.
        second_look: look again at small hands and faces; None does not.
        sanity: which impossible things are mended; None mends nothing.
        smoothing: how strongly poses are steadied; None leaves them as the network saw them.
        **numbers: fields of `FollowOptions`, instead of or on top of `options`. On a GPU
            ``batch=32`` looks at each frame, so many together, instead of following boxes.

    Yields:
        uint8 [H, W, 3] RGB and the people in it, who keep their `track_ids`.

    Raises:
        FileNotFoundError, ValueError, TypeError, RuntimeError: see `io.frames.open_frames`; also
            where a number is negative or unknown.
    """
    if start < 0:
        raise ValueError(f"start must be 0 or more, got {start}")
    frames = open_frames(source, fps)
    chosen = follow_options(frames, options, **numbers)
    follower = make_follower(pose, chosen, second_look)
    return _frames(follower, StreamRefiner(sanity, smoothing), frames, start)


def follow_options(
    frames: FrameSource, options: FollowOptions | None = None, **numbers: Any
) -> FollowOptions:
    """Return the options for a source: those given, or its defaults, with numbers changed."""
    if options is None:
        options = FollowOptions(stride=1) if isinstance(frames, Webcam) else FollowOptions()
    unknown = sorted(set(numbers) - set(vars(options)))
    if unknown:
        raise TypeError(f"{', '.join(unknown)}: the numbers are {', '.join(vars(options))}")
    return replace(options, **numbers)


def _frames(
    follower: Follower, refiner: StreamRefiner, frames: FrameSource, start: int
) -> Iterator[tuple[ImageArray, People]]:
    for frame, people in follower.follow(frames.frames(start)):
        # After a cut everybody has a new id, so the refiner needs not be told.
        yield frame.image, refiner.update(people, frame.time_s)

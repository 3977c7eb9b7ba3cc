"""`dwpose video`: films and folders of frames in, pose films and keypoints out."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .options import (
    add_drawing,
    add_models,
    drawing_options,
    model_files,
    open_model,
    parse_count,
    parse_strengths,
    whole,
)

if TYPE_CHECKING:
    from ..retarget import Retargeter
    from ..sanity import SanityOptions
    from ..smoothing import SmoothingOptions

# The checks of sanity.SanityOptions and retarget.FRAMINGS, repeated because --help must not load
# numpy; a test compares them.
RULES = ("swaps", "hands", "faces", "limbs")
FRAMINGS = ("keep", "reference", "fit")

# Without a terminal a line of progress is printed this often.
_LINE_EVERY_S = 15.0

_EPILOG = """\
examples:
  dwpose video dance.mp4 -o dance_pose.mp4 --json dance.json
      a pose film with the sound and the frame times of the source, and all keypoints with ids
  dwpose video dance.mp4 -o dance_overlay.mp4 --overlay
  dwpose video frames/ -o pose_frames/
      a folder of pictures to a folder of pose maps; --fps 24 and -o film.mp4 make a film of it
  dwpose video dance.mp4 -o pose.mp4 --strength 1.5,face=0.5 --second-look
      steadier bodies and hands, livelier faces; small hands and faces seen from near
  dwpose video dance.mp4 -o pose.mp4 --retarget hero.png --framing reference
      the dancer's movements with the proportions of the person in a picture, where they stand
  dwpose video dance.mp4 -o pose.mp4 --retarget torso=1,arm=0.6,leg=0.9
  dwpose video dance.mp4 -o pose.mp4 --stride 1 --detect-every 1 --no-smooth --no-sanity
      each frame by itself, as the network sees it, many times slower
  dwpose video dance.mp4 -o pose.mp4 --batch 32 --mode graph
      on an NVIDIA GPU: each frame, with the detector, 32 frames together

Killed and started again with the same call, it goes on with the very same result. The
finished frames are in OUT.poses.jsonl until all is done; those since the last key frame or the
last batch, and of at most the last 0.2 s of work before it, are done again. With --keep-journal
that file stays, and another call with other smoothing, checks, proportions or drawing takes the
poses from it.

exit codes: 0 done, 1 the work failed, 2 wrong call or no film
"""


def add_parser(subparsers: Any) -> None:
    """Add the command to the dispatcher's parser."""
    parser = subparsers.add_parser(
        "video",
        help="draw pose films",
        description="Follow the people of a film or a folder of frames and draw their poses.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("source", metavar="IN", help="a film that FFmpeg reads, or a folder of pictures")
    add("-o", "--output", metavar="OUT", help="film (.mp4 .mkv .mov .webm), or folder of pictures")
    add("--json", metavar="POSES.json", help="POSE_KEYPOINT of all frames, with ids and times")
    add("--restart", action="store_true", help="begin anew instead of going on after a kill")
    add("--keep-journal", action="store_true", help="leave OUT.poses.jsonl there at the end")

    group = parser.add_argument_group("what to draw")
    add = group.add_argument
    add("--overlay", action="store_true", help="over the source's frames instead of on black")
    add_drawing(group, "the film's")
    add("--no-audio", action="store_true", help="leave the sound out")
    add("--crf", type=int, default=18, metavar="N", help="quality, 0 best to 51 worst (18)")
    add("--fps", type=float, metavar="N", help="frames a second of a folder, 0.01 to 1000 (25)")

    group = parser.add_argument_group("following people")
    add = group.add_argument
    add("--stride", type=parse_count, metavar="N", help="estimate every Nth frame at least (4)")
    add(
        "--detect-every",
        type=parse_count,
        metavar="N",
        help="most frames without a look at the whole picture (60)",
    )

    add(
        "--batch",
        type=parse_count,
        metavar="N",
        help="on a GPU: look at each frame, with the detector, N frames together, instead of "
        "following boxes (the two above do not count then)",
    )
    add("--second-look", action="store_true", help="look again at small hands and faces")

    group = parser.add_argument_group("finishing poses")
    add = group.add_argument
    add(
        "--smooth",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="steady the poses, without lag, and fill gaps (default: on)",
    )
    add(
        "--strength",
        type=parse_strengths,
        default={},
        metavar="S|PART=S,..",
        help="how strongly, for all parts or for each; 0 leaves a part as it is (1)",
    )
    add("--max-gap", type=float, metavar="S", help="longest gap that is filled, seconds (0.4)")
    add("--no-sanity", action="store_true", help="leave impossible poses as they are")
    add(
        "--keep",
        action="append",
        choices=RULES,
        default=[],
        metavar="RULE",
        help=f"leave one kind of them ({', '.join(RULES)}); may be repeated",
    )
    add(
        "--retarget",
        metavar="REF",
        help="take over the proportions of a picture's or keypoint file's person, or "
        "NAME=LENGTH,.. in heights of the torso",
    )
    add("--framing", choices=FRAMINGS, default="keep", help="where they stand then (keep)")
    add(
        "--track-id",
        type=whole(0),
        metavar="N",
        help="retarget this person, and leave out the others",
    )
    add_models(parser)


def run(args: argparse.Namespace) -> int:
    """Do the film that the arguments name and return the exit code."""
    from ..following import FollowOptions
    from ..io.film import ENDINGS
    from ..io.frames import open_frames
    from ..second_look import SecondLookOptions
    from ..types import DEFAULT_THRESHOLD
    from ..video import FilmOptions, check_film, run_film

    numbers = {"batch": args.batch, "stride": args.stride, "detect_every": args.detect_every}
    try:
        if not args.output and not args.json:
            raise ValueError(
                "there is nothing to write; give -o OUT.mp4, --json POSES.json or both"
            )
        if args.retarget is None and (args.track_id is not None or args.framing != "keep"):
            raise ValueError("--track-id and --framing need --retarget")
        if args.overlay and args.framing != "keep":
            raise ValueError("--overlay needs the driver's picture: leave --framing at keep")
        # Of no name Path makes the current folder.
        output = Path(args.output) if args.output else None
        if not args.source or not Path(args.source).exists():
            raise FileNotFoundError(f"there is no film or folder {args.source!r}")
        frames = open_frames(args.source, args.fps)
        for what in _without_effect(args):
            _say(f"{what} has no effect")
        follow = FollowOptions(**{k: v for k, v in numbers.items() if v is not None})
        film = FilmOptions(
            overlay=args.overlay,
            style=args.style,
            size=args.size,
            draw=drawing_options(args.parts, args.threshold),
            audio=not args.no_audio,
            crf=args.crf,
            threshold=args.threshold.get("body", DEFAULT_THRESHOLD),
        )
        smoothing, sanity = smoothing_of(args), sanity_of(args)
        check_film(frames, output, args.json or None, film)
        model = open_model(args, _say)
        retarget = _retargeter(args, model)
    except (TypeError, ValueError, FileNotFoundError) as error:
        _say(str(error))
        return 2
    except (RuntimeError, OSError) as error:
        _say(str(error))
        return 1
    bar = _Bar()
    before = _stop_tidily()
    try:
        report = run_film(
            model,
            frames,
            output,
            args.json or None,
            follow=follow,
            second_look=SecondLookOptions() if args.second_look else None,
            sanity=sanity,
            smoothing=smoothing,
            retarget=retarget,
            retarget_id=args.track_id,
            film=film,
            fresh=args.restart,
            keep_journal=args.keep_journal,
            about={"models": model_files(args)},
            progress=bar,
        )
    except (ValueError, RuntimeError, OSError) as error:
        bar.close()
        _say(str(error))
        return 1
    finally:
        bar.close()
        if before is not None:
            signal.signal(signal.SIGTERM, before)
    done = [str(p) for p in (args.output, args.json) if p]
    work = report.counts
    _say(
        f"{report.frames} frames with {report.people} "
        f"{'person' if report.people == 1 else 'people'} in {' and '.join(done)}; "
        f"{work.crops} poses estimated, {work.filled} frames filled in, "
        f"{work.detections} looks at whole pictures, {work.cuts} cuts"
        + (f"; {report.resumed} frames were done before" if report.resumed else "")
        + (f"; {report.damaged} damaged pieces of the source passed over" if report.damaged else "")
    )
    if output is not None and output.suffix.lower() in ENDINGS and not args.no_audio:
        _say("with sound" if frames.audio else "the source has no sound")
    return 0


def _without_effect(args: argparse.Namespace) -> list[str]:
    """What was asked for and cannot count beside the rest."""
    is_folder = Path(args.source).is_dir()
    return [
        what
        for what, asked in (
            ("--fps for a film, which has its own frame times,", args.fps and not is_folder),
            ("--size for an overlay, which has the film's size,", args.overlay and args.size),
            ("--strength with --no-smooth", not args.smooth and args.strength),
            ("--max-gap with --no-smooth", not args.smooth and args.max_gap is not None),
            ("--keep with --no-sanity", args.no_sanity and args.keep),
        )
        if asked
    ]


def _stop_tidily() -> Any:
    """Let SIGTERM end the work as Ctrl-C does, by an exception, so that no half film stays.

    Returns:
        the handler to set again afterwards, or None where it was not changed.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        return None
    # The exit code is that of a shell for a process which a signal has ended.
    return signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


class _Bar:
    """Progress with frames a second and the time left: a bar on a terminal, lines elsewhere."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._phase = ""
        self._begin = (0.0, 0)
        self._last = 0.0

    def __call__(self, phase: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if phase != self._phase:
            self.close()
            self._phase, self._begin, self._last = phase, (now, done), now
            from tqdm import tqdm

            self._bar = tqdm(
                total=total, initial=done, unit="frame", desc=phase, file=sys.stderr, disable=None
            )
        if self._bar is not None and not self._bar.disable:
            self._bar.total = None if total is None else max(total, done)
            self._bar.update(done - self._bar.n)
        elif now - self._last >= _LINE_EVERY_S:
            self._last = now
            rate = (done - self._begin[1]) / max(now - self._begin[0], 1e-9)
            left = "" if not total or not rate else f", {max(total - done, 0) / rate:.0f} s left"
            _say(f"{phase}: {done}{f' of {total}' if total else ''} frames, {rate:.1f} fps{left}")

    def close(self) -> None:
        """End the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def smoothing_of(args: argparse.Namespace) -> SmoothingOptions | None:
    """Return what `--smooth`, `--strength` and `--max-gap` ask for."""
    from ..smoothing import SmoothingOptions, with_strength

    if not args.smooth:
        return None
    options = (
        SmoothingOptions() if args.max_gap is None else SmoothingOptions(max_gap_s=args.max_gap)
    )
    return with_strength(options, args.strength)


def sanity_of(args: argparse.Namespace) -> SanityOptions | None:
    """Return what `--no-sanity` and `--keep` ask for."""
    from ..sanity import SanityOptions

    switches: dict[str, Any] = dict.fromkeys(args.keep, False)
    return None if args.no_sanity else SanityOptions(**switches)


def _retargeter(args: argparse.Namespace, model: Any) -> Retargeter | None:
    from ..proportions import read_proportions
    from ..retarget import Retargeter, RetargetOptions

    if args.retarget is None:
        return None
    reference = read_proportions(args.retarget, model.pose)
    return Retargeter(reference, RetargetOptions(framing=args.framing))


def _say(text: str) -> None:
    print(f"dwpose video: {text}", file=sys.stderr)

"""Save Keypoints and Load Keypoints."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io  # pyright: ignore[reportMissingImports]

from .folders import find_path, folder_of, is_inside, list_files
from .render import poses_with_frames
from .sockets import (
    advanced,
    check_choice,
    check_interrupt,
    pose_input,
    pose_output,
    schema,
    write_poses,
    written_threshold,
)

if TYPE_CHECKING:
    from ..dwpose.types import People

FORMATS = ("OpenPose JSON", "OpenPose JSON per frame", "COCO JSON")
CONFIDENCES = ("binary", "score")
BY_PATH = "(path below)"


class SaveKeypoints(io.ComfyNode):
    """Keypoints in, files out."""

    @classmethod
    def define_schema(cls) -> Any:
        """What ComfyUI shows."""
        return schema(
            "SaveKeypoints",
            "Save Keypoints",
            "Saves keypoints in ComfyUI's output folder: as OpenPose JSON, in one file or one for "
            "each frame, which pose editors and other packs read; or as COCO JSON for training. "
            "Files are numbered and never overwritten.",
            inputs=[
                pose_input(),
                io.String.Input(
                    "filename_prefix",
                    default="DWPose/keypoints",
                    tooltip="Start of the name, with folders if wanted, inside the output folder. "
                    "%year%, %month%, %day%, %hour%, %minute%, %second%, %width% and %height% are "
                    "filled in.",
                ),
                io.Combo.Input(
                    "format",
                    options=list(FORMATS),
                    default=FORMATS[0],
                    tooltip="OpenPose JSON: one file, a list with an entry for each frame. "
                    "OpenPose JSON per frame: a folder with files as OpenPose names them. COCO "
                    "JSON: one COCO-WholeBody data set with 133 points a person, without scores.",
                ),
                advanced(
                    io.Combo.Input(
                        "confidence",
                        options=list(CONFIDENCES),
                        default=CONFIDENCES[0],
                        tooltip="Third number of an OpenPose point: binary = 1 where shown, as "
                        "other packs need it; score = the real score, 0..1.",
                    )
                ),
                advanced(
                    io.Boolean.Input(
                        "keep_everything",
                        default=True,
                        tooltip="OpenPose JSON: keep all points with raw scores, boxes and ids "
                        "under an extra key that other programs pass over. Off: smaller files "
                        "with the plain lists alone.",
                    )
                ),
            ],
            outputs=[
                io.String.Output(
                    "path",
                    display_name="path",
                    tooltip="The file, or the folder of files, inside the output folder; Load "
                    "Keypoints reads it as it is.",
                )
            ],
            search=("export", "json", "coco", "write"),
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls,
        pose_keypoint: Any,
        filename_prefix: str = "DWPose/keypoints",
        format: str = FORMATS[0],
        confidence: str = CONFIDENCES[0],
        keep_everything: bool = True,
    ) -> Any:
        """Write the files."""
        import folder_paths  # pyright: ignore[reportMissingImports]

        from ..dwpose.io import openpose_json
        from ..dwpose.io.coco_write import save_annotations, to_coco_annotations
        from ..dwpose.types import DEFAULT_THRESHOLD

        check_choice("format", format, FORMATS)
        check_choice("confidence", confidence, CONFIDENCES)
        frames = poses_with_frames(pose_keypoint)
        threshold = written_threshold(pose_keypoint)
        threshold = DEFAULT_THRESHOLD if threshold is None else threshold
        height, width = frames[0].image_hw
        folder, name, counter, subfolder = _place(folder_paths, filename_prefix, width, height)
        stem = f"{name}_{counter:05}_"
        check_interrupt()
        if format == FORMATS[2]:
            target = f"{stem}.json"
            document = to_coco_annotations(frames, threshold=threshold, on_frame=check_interrupt)
            save_annotations(document, os.path.join(folder, target), check_interrupt)
        else:
            per_frame = format == FORMATS[1]
            # A folder for each run, so that Load Keypoints finds the frames of one run together.
            target = f"{stem}/" if per_frame else f"{stem}.json"
            openpose_json.save(
                frames,
                os.path.join(folder, stem, name) if per_frame else os.path.join(folder, target),
                per_frame=per_frame,
                confidence=confidence,  # pyright: ignore[reportArgumentType]
                threshold=threshold,
                extra=keep_everything,
                on_frame=check_interrupt,
            )
        path = f"{subfolder}/{target}".lstrip("/").replace(os.sep, "/")
        return io.NodeOutput(f"{path} [output]")


def _place(folder_paths: Any, prefix: str, width: int, height: int) -> tuple[str, str, int, str]:
    """Ask ComfyUI for folder, name, number and subfolder; paths outside are refused."""
    if not prefix.strip(" /\\.") or "\0" in prefix:
        raise ValueError("filename_prefix is empty; give a name such as DWPose/keypoints")
    output = os.path.abspath(folder_paths.get_output_directory())
    if not is_inside(os.path.abspath(os.path.join(output, prefix)), output):
        raise ValueError(
            f"filename_prefix {prefix!r} leads out of the output folder; give a name inside it"
        )
    # ComfyUI finds no number to go on from where the prefix ends in a slash or has such pieces.
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(
        os.path.normpath(prefix), output, width, height
    )
    return folder, name, counter, subfolder


class LoadKeypoints(io.ComfyNode):
    """Files in, keypoints out."""

    @classmethod
    def define_schema(cls) -> Any:
        """What ComfyUI shows."""
        return schema(
            "LoadKeypoints",
            "Load Keypoints",
            "Reads keypoints from ComfyUI's input or output folder: OpenPose JSON of any program "
            "or pack, a folder with one such file for each frame, or COCO JSON.",
            inputs=[
                io.Combo.Input(
                    "file",
                    options=[BY_PATH, *list_files()],
                    default=BY_PATH,
                    tooltip="A JSON file, or a folder with a file for each frame (its name ends "
                    "with /), in the input folder or, marked [output], the output folder. Press R "
                    "to see new ones.",
                ),
                io.String.Input(
                    "path",
                    default="",
                    tooltip="Used where file is '(path below)': a file or folder inside the input "
                    "folder, or inside the output folder with [output] after it, such as "
                    "DWPose/keypoints_00001_.json [output]. Save Keypoints gives such a path.",
                ),
                advanced(
                    io.Int.Input(
                        "canvas_width",
                        default=0,
                        min=0,
                        max=100000,
                        tooltip="Width in pixels of the picture that the keypoints are of, for "
                        "files that do not say it, such as OpenPose's own; 0 = as the file says.",
                    )
                ),
                advanced(
                    io.Int.Input(
                        "canvas_height",
                        default=0,
                        min=0,
                        max=100000,
                        tooltip="Height in pixels of that picture; 0 = as the file says.",
                    )
                ),
                advanced(
                    io.Boolean.Input(
                        "swap_hands",
                        default=False,
                        tooltip="Exchange left and right hands, for files of ComfyUI's SDPose "
                        "nodes, which have them the wrong way round.",
                    )
                ),
            ],
            outputs=[
                pose_output(tooltip="The keypoints, one entry for each frame of the file."),
                io.Int.Output(
                    "frame_count", display_name="frames", tooltip="Number of frames read."
                ),
            ],
            search=("import", "json", "coco", "read"),
        )

    @classmethod
    def fingerprint_inputs(cls, file: Any = BY_PATH, path: Any = "", **inputs: Any) -> Any:
        """Run again when the file changed; always, where a name that is linked isn't known yet."""
        if file is None or (path is None and file in ("", BY_PATH)):
            return float("nan")
        try:
            found = Path(find_path(_choose(file, path)))
            files = [found, *sorted(found.glob("*.json"))] if found.is_dir() else [found]
            return str([(f.name, f.stat().st_mtime_ns, f.stat().st_size) for f in files])
        except (OSError, ValueError):
            return "missing"

    @classmethod
    def execute(
        cls,
        file: str = BY_PATH,
        path: str = "",
        canvas_width: int = 0,
        canvas_height: int = 0,
        swap_hands: bool = False,
    ) -> Any:
        """Read the file."""
        name = _choose(file, path)
        found = find_path(name)
        if not os.path.exists(found):
            raise FileNotFoundError(
                f"there is no file {name!r}; put it into the {folder_of(name)} folder and press R"
            )
        if bool(canvas_width) != bool(canvas_height):
            raise ValueError("give both canvas_width and canvas_height, or leave both at 0")
        check_interrupt()
        canvas_hw = (canvas_height, canvas_width) if canvas_width else None
        frames, threshold = _read(Path(found), canvas_hw, swap_hands)
        if not frames:
            raise ValueError(f"{name!r} has no frames; choose a file with keypoints")
        return io.NodeOutput(write_poses(frames, threshold), len(frames))


def _choose(file: Any, path: Any) -> str:
    if file not in (None, "", BY_PATH):
        return str(file)
    if not str(path or "").strip():
        raise ValueError("no file is chosen; pick one in 'file' or write its path")
    return str(path)


def _read(
    path: Path, canvas_hw: tuple[int, int] | None, swap_hands: bool
) -> tuple[list[People], float | None]:
    """Return the people of each frame, and the score that they were written with."""
    from ..dwpose.io import coco, openpose_json
    from ..dwpose.io.ticking import ticking

    documents = openpose_json.load_documents(path, on_frame=check_interrupt)
    document = None if path.is_dir() else documents[path.name]
    try:
        if isinstance(document, dict) and "annotations" in document:
            dataset = coco.read_annotations(document, check_interrupt)
            images = ticking(dataset.images, check_interrupt)
            return [dataset.people(image_id) for image_id in images], None
        first = document[0] if isinstance(document, list) and document else None
        if isinstance(first, dict) and "image_id" in first:
            return _read_results(document, canvas_hw), None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path.name}: {error}") from error
    frames = openpose_json.read_documents(
        documents, canvas_hw=canvas_hw, swap_hands=swap_hands, on_frame=check_interrupt
    )
    written = [written_threshold(one) for one in documents.values()]
    return frames, min((one for one in written if one is not None), default=None)


def _read_results(document: Any, canvas_hw: tuple[int, int] | None) -> list[People]:
    from ..dwpose.io import coco

    if canvas_hw is None:
        raise ValueError(
            "COCO results do not say how large the pictures are; set canvas_width and canvas_height"
        )
    sizes: Any = {e.get("image_id"): canvas_hw for e in document if isinstance(e, dict)}
    found = coco.read_results(document, sizes, check_interrupt)
    return [found[image_id] for image_id in sorted(found)]

"""Load DWPose Model: files, downloads, sharing, and when memory is given back."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="module")
def models(pack):
    return pack("nodes.models")


@pytest.fixture(scope="module")
def files(pack):
    return pack("nodes.model_files")


@pytest.fixture(scope="module")
def memory(pack):
    return pack("nodes.memory")


@pytest.fixture(autouse=True)
def no_default(memory, management):
    yield
    gc.collect()
    memory._default.model = None


def test_files_of_the_folder_are_offered(models, tiny, models_folder):
    (models_folder / "notes.txt").touch()
    (models_folder / "yolox_l.onnx").touch()  # the catalogue's, offered by its id
    schema = models.LoadModel.GET_SCHEMA()
    estimators = schema.inputs[0].options
    assert "tiny.safetensors" in estimators
    assert {"auto", "builtin-lite", "dw-ll-384"} <= set(estimators)
    assert not {"notes.txt", "yolox_l.onnx", "yolox-l", "dw-ll-384-pth"} & set(estimators)
    assert {"auto", "none", "yolox-l", "tiny.safetensors"} <= set(schema.inputs[1].options)
    from dwpose.runtimes.session import MODES

    assert (schema.inputs[-1].id, tuple(schema.inputs[-1].options)) == ("mode", MODES)


def test_the_kind_is_merged_with_that_of_extra_model_paths(files, folder_paths, models_folder):
    elsewhere = models_folder.parent / "shared drive"
    elsewhere.mkdir()
    (elsewhere / "mine.onnx").touch()
    (elsewhere / "readme.md").touch()
    folder_paths.folder_names_and_paths["dwpose"] = ([str(elsewhere)], set())
    assert files.model_folders() == [str(elsewhere), str(models_folder)]
    assert files.own_files() == ["mine.onnx"]
    assert files.model_folders() == [str(elsewhere), str(models_folder)]


def test_official_files_are_found_in_any_of_the_folders(files, folder_paths, models_folder, pack):
    entry = pack("dwpose.weights.catalogue").find("yolox-s")
    elsewhere = models_folder.parent / "b"
    elsewhere.mkdir()
    folder_paths.folder_names_and_paths["dwpose"] = ([str(elsewhere)], set())
    assert files.choose_detector().name == "builtin-det"
    with (elsewhere / entry.name).open("wb") as out:
        out.truncate(entry.bytes)
    assert files.choose_detector().name == "yolox-s"


def test_the_official_model_comes_before_the_built_in_one(files, models_folder, pack):
    catalogue = pack("dwpose.weights.catalogue")
    _, notice = files.choose_estimator()
    assert "built-in" in notice
    official = catalogue.find(catalogue.DEFAULT_ESTIMATOR)
    with (models_folder / official.name).open("wb") as out:
        out.truncate(official.bytes)
    found, notice = files.choose_estimator()
    assert (found.name, notice) == (official.id, "")


def test_a_model_runs_under_comfyuis_memory_manager(tiny, management, pack, load_model):
    model, info = load_model()
    assert "torch on cpu in fp32" in info
    assert "detector: none" in info
    estimate = pack("nodes.estimate")
    image = torch.rand(2, 40, 30, 3)
    maps, keypoints, _ = estimate.PoseEstimator.execute(image, model=model).args
    assert maps.shape == image.shape
    assert len(keypoints) == 2
    [patcher] = next(c[1] for c in management.calls if c[0] == "load_models_gpu")
    assert patcher.model is model.networks[0].session.module


def test_weights_work_outside_of_inference_mode(tiny, load_model):
    with torch.inference_mode():
        model, _ = load_model()
    module = model.networks[0].session.module
    assert not any(p.is_inference() for p in module.parameters())


def test_two_loaders_share_one_copy_and_a_dropped_one_is_gone(tiny, memory, load_model):
    first, _ = load_model()
    second, _ = load_model()
    other, _ = load_model(precision="bf16")
    assert first.networks[0] is second.networks[0]
    assert other.networks[0] is not first.networks[0]
    module = weakref.ref(first.networks[0].session.module)
    del first
    gc.collect()
    assert module() is not None
    del second
    gc.collect()
    assert module() is None
    assert len(memory._networks) == 1


def test_the_mode_is_told_and_keeps_models_apart(tiny, load_model):
    plain, said = load_model()
    graph, info = load_model(mode="graph")
    assert "graph needs an NVIDIA GPU, so it runs eagerly on cpu" in info
    assert "NVIDIA" not in said
    assert graph.networks[0] is not plain.networks[0]


def test_graphs_are_recorded_anew_where_comfyui_moved_the_weights(tiny, load_model):
    model, _ = load_model(mode="graph")
    session = model.networks[0].session
    model.prepare()
    recorded = session._forward
    model.prepare()
    assert session._forward is recorded
    held = [weight.data for weight in session.module.parameters()]
    session.module.to(torch.float64).to(torch.float32)  # as offloaded and loaded again
    assert held
    model.prepare()
    assert session._forward is not recorded


def test_a_replaced_file_is_another_model(models, tiny, load_model):
    first, _ = load_model()
    before = models.LoadModel.fingerprint_inputs(estimator=tiny.name, detector="none")
    data = bytearray(tiny.read_bytes())
    data[-1] ^= 1
    tiny.write_bytes(bytes(data) + b"")
    assert models.LoadModel.fingerprint_inputs(estimator=tiny.name, detector="none") != before
    assert load_model()[0].networks[0] is not first.networks[0]


def test_the_default_model_lives_as_long_as_nodes_that_use_it(
    models, tiny, memory, monkeypatch, pack
):
    file = memory.ModelFile("tiny", tiny)
    monkeypatch.setattr(models, "choose_estimator", lambda: (file, "small"))
    node = pack("nodes.estimate").PoseEstimator
    kept = node()  # as ComfyUI keeps it in its cache of node objects
    model = models.model_or_default(None)
    assert models.model_or_default(None) is model
    assert model.notice == "small"
    gone = weakref.ref(model.networks[0].session)
    del model
    gc.collect()
    assert gone() is not None
    del kept
    gc.collect()
    assert gone() is None


def test_the_default_model_is_not_kept_for_nobody(models, tiny, memory, monkeypatch):
    monkeypatch.setattr(models, "choose_estimator", lambda: (memory.ModelFile("t", tiny), ""))
    gone = weakref.ref(models.model_or_default(None).networks[0].session)
    gc.collect()
    assert gone() is None


def test_room_is_made_before_a_model_is_opened_on_a_device(
    tiny, management, monkeypatch, load_model
):
    asked = []
    # One that no machine has: the automatic choice then falls back to the CPU.
    monkeypatch.setattr(management, "device", torch.device("cuda:99"))
    monkeypatch.setattr(
        management, "free_memory", lambda size, device: asked.append((size, device))
    )
    _, info = load_model(runtime="auto")
    assert [device for _, device in asked] == [torch.device("cuda:99")]
    assert asked[0][0] > 2 * tiny.stat().st_size
    assert "on cpu" in info
    with pytest.raises(RuntimeError, match="cuda:99"):
        load_model(runtime="torch")


def test_nothing_is_downloaded_unless_allowed(models_folder, monkeypatch, pack, load_model):
    hub = pack("dwpose.weights.hub")
    monkeypatch.setattr(hub, "fetch", lambda *a, **k: pytest.fail("the network was touched"))
    with pytest.raises(RuntimeError, match="download_if_missing") as caught:
        load_model(estimator="dw-ll-384", runtime="auto")
    for part in ("134 MB", "yzd-v/DWPose", "Apache-2.0", "dw-ll_ucoco_384.onnx"):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_allowed_download_goes_into_our_folder_with_progress(
    models_folder, tiny_weights, monkeypatch, pack, management, load_model
):
    hub, catalogue = pack("dwpose.weights.hub"), pack("dwpose.weights.catalogue")

    def fetch(entry, folder, progress):
        assert entry.id == "dw-ll-384"
        progress(5, 10)
        management.interrupted = True
        progress(6, 10)
        pytest.fail("cancelling does not reach the download")

    monkeypatch.setattr(hub, "fetch", fetch)
    with pytest.raises(management.InterruptProcessingException):
        load_model(estimator="dw-ll-384", download_if_missing=True)
    asked = []
    path = models_folder / "tiny.safetensors"
    path.write_bytes(tiny_weights)
    monkeypatch.setattr(hub, "fetch", lambda e, folder, progress: asked.append(folder) or path)
    monkeypatch.setattr(pack("dwpose.weights.store"), "check", lambda *a: None)
    load_model(estimator="dw-ll-384", download_if_missing=True)
    assert asked == [str(models_folder)]
    assert catalogue.find("dw-ll-384").id == "dw-ll-384"


@pytest.fixture
def cut_off(files, folder_paths, models_folder, pack):
    """A function that puts a file that is too short in the place of a catalogue file."""

    def put(id, first=True):
        folder_paths.folder_names_and_paths["dwpose"] = ([str(models_folder.parent / "b")], set())
        first_folder, second = files.model_folders()
        path = (
            Path(first_folder if first else second) / pack("dwpose.weights.catalogue").find(id).name
        )
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * 1000)
        return path

    return put


@pytest.mark.parametrize("first", [True, False])
def test_a_cut_off_file_is_named_when_its_model_is_chosen(tiny, cut_off, first, load_model):
    path = cut_off("yolox-l", first)
    with pytest.raises(RuntimeError, match="delete it and switch on") as caught:
        load_model(detector="yolox-l")
    assert f"{path} is not yolox-l: 1000 bytes instead of 216746733; " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("first", [True, False])
def test_a_cut_off_file_is_named_where_auto_passes_it_over(
    models, files, tiny, cut_off, first, load_model
):
    pose, find = cut_off("dw-ll-384", first), cut_off("yolox-l", first)
    says = "so it is not used; delete it"
    found, notice = files.choose_estimator()
    assert found.name == "builtin-lite"
    assert f"{pose} is not dw-ll-384: 1000 bytes instead of 134399116, {says}" in notice
    _, info = load_model(detector="auto")
    assert f"{find} is not yolox-l: 1000 bytes instead of 216746733, {says}" in info
    assert str(pose) not in info  # another one was chosen by name
    assert str(find) in models.model_or_default(None).notice
    find.unlink()
    assert str(find) not in models.model_or_default(None).notice
    assert str(pose) in models.model_or_default(None).notice


def test_a_cut_off_file_that_is_fetched_anew_is_named(tiny, cut_off, monkeypatch, pack, load_model):
    path = cut_off("dw-ll-384")
    monkeypatch.setattr(pack("dwpose.weights.hub"), "fetch", lambda *a, **k: tiny)
    monkeypatch.setattr(pack("dwpose.weights.store"), "check", lambda *a: None)
    _, info = load_model(estimator="dw-ll-384", download_if_missing=True)
    assert f"{path} is not dw-ll-384: 1000 bytes" in info
    assert "so it was fetched anew" in info


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"estimator": "no-such"}, "neither a known model nor a file"),
        ({"estimator": "../../etc/passwd.onnx"}, "neither a known model nor a file"),
        ({"estimator": "yolox-l"}, "must be a pose estimator, but yolox-l is a person detector"),
        ({"detector": "dw-ll-384"}, "a person detector, but dw-ll-384 is a pose estimator"),
        ({"detector": "tiny.safetensors"}, "tiny.safetensors is an estimator"),
        ({"runtime": "tensorflow"}, "runtime must be one of"),
        ({"precision": "int8"}, "precision must be one of"),
        ({"mode": "fast"}, "mode must be one of"),
        ({"estimator": "broken.safetensors"}, "broken.safetensors"),
    ],
)
def test_wrong_choices_are_named(tiny, models_folder, change, match, load_model):
    (models_folder / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises((ValueError, RuntimeError), match=match) as caught:
        load_model(**change)
    assert "\n" not in str(caught.value)


def test_the_fingerprint_follows_the_files(models, models_folder, tiny_weights):
    ask = models.LoadModel.fingerprint_inputs
    before = ask(estimator="auto", detector="auto")
    assert ask(estimator="auto", detector="auto") == before
    assert isinstance(ask(estimator="gone.onnx", detector="none"), str)
    (models_folder / "gone.onnx").write_bytes(tiny_weights)
    assert not isinstance(ask(estimator="gone.onnx", detector="none"), str)


def test_a_node_with_a_model_does_not_ask_for_the_default_one(pack, models_folder, tiny_weights):
    node = pack("nodes.estimate").PoseEstimator
    catalogue = pack("dwpose.weights.catalogue")
    linked, open = node.fingerprint_inputs(model=None), node.fingerprint_inputs()
    with (models_folder / catalogue.find("dw-ll-384").name).open("wb") as out:
        out.truncate(catalogue.find("dw-ll-384").bytes)
    assert node.fingerprint_inputs(model=None) == linked
    assert node.fingerprint_inputs() != open

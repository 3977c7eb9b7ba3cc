"""Every operator of the table against onnxruntime, one small graph each."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from dwpose.errors import WeightsError
from dwpose.models.onnx_graph import OnnxModule, load_onnx
from dwpose.models.onnx_ops import OPERATORS

RNG = np.random.default_rng(0)


def f(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def i(*values):
    return np.array(values, dtype=np.int64)


def scalar(value, dtype=np.float32):
    return np.array(value, dtype=dtype)


X = f(2, 3, 4, 5)
POSITIVE = np.abs(f(2, 3)) + 0.1
WHOLE = RNG.integers(-9, 9, (2, 3, 4))
TIES = np.array([[3, 1, 3, 2, 1], [0, 0, 0, 5, 5]], dtype=np.float32)
TRUTH = np.array([[True, False, True], [False, False, True]])
CORNERS = (np.cumsum(RNG.random((2, 30, 4)), axis=-1)).astype(np.float32)
CLASS_SCORES = RNG.random((2, 3, 30)).astype(np.float32)
IMAGE = f(1, 2, 5, 7)

# (operator, opset, input 0, further inputs as constants, attributes)
CASES = [
    *((op, 17, X, [], {}) for op in (
        "Abs", "Neg", "Exp", "Floor", "Ceil", "Sign", "Erf", "Sigmoid", "Tanh", "Relu", "Sin",
        "Cos", "Identity", "Softplus", "HardSwish", "GlobalAveragePool", "GlobalMaxPool",
        "LeakyRelu", "Elu", "HardSigmoid", "Shape", "Size", "Flatten", "Transpose",
    )),
    ("Round", 17, np.array([-1.5, -0.5, 0.5, 1.5, 2.5, 0.4], np.float32), [], {}),
    ("Mish", 18, X, [], {}), ("Gelu", 20, X, [], {}), ("Gelu", 20, X, [], {"approximate": "tanh"}),
    *((op, 17, POSITIVE, [], {}) for op in ("Log", "Sqrt", "Reciprocal")),
    *((op, 17, np.array([1, np.nan, -np.inf], np.float32), [], {}) for op in ("IsNaN", "IsInf")),
    ("LeakyRelu", 11, X, [], {"alpha": 0.2}), ("Elu", 11, X, [], {"alpha": 0.7}),
    ("HardSigmoid", 11, X, [], {"alpha": 1 / 6, "beta": 0.5}),
    ("PRelu", 17, X, [f(3, 1, 1)], {}), ("Dropout", 17, X, [], {}), ("Not", 17, TRUTH, [], {}),
    ("Clip", 17, X, [scalar(-0.5), scalar(0.5)], {}), ("Clip", 11, X, [None, scalar(0.1)], {}),
    ("Clip", 6, X, [], {"min": -0.2, "max": 0.3}),
    ("Cast", 17, X, [], {"to": 10}), ("Cast", 17, X * 9, [], {"to": 7}),
    ("Cast", 17, WHOLE, [], {"to": 1}), ("CastLike", 17, X, [i(1)], {}),
    *((op, 17, X, [f(3, 1, 5)], {}) for op in ("Add", "Sub", "Mul", "Div", "Min", "Max")),
    ("Min", 17, X, [f(5), f(4, 1)], {}), ("Sum", 17, X, [f(5), f(4, 1)], {}),
    ("Div", 17, WHOLE, [i(2, -3, 4, -5)], {}), ("Mod", 17, WHOLE, [i(2, -3, 4, -5)], {}),
    ("Mod", 17, X, [f(5)], {"fmod": 1}), ("Pow", 17, POSITIVE, [scalar(0.5)], {}),
    ("Pow", 17, X, [scalar(2, np.int64)], {}),
    *((op, 17, WHOLE, [i(2, -3, 4, -5)], {}) for op in (
        "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual")),
    *((op, 17, TRUTH, [TRUTH[::-1].copy()], {}) for op in ("And", "Or", "Xor")),
    ("Where", 17, TRUTH, [f(2, 3), f(3)], {}),
    *((op, 11, X, [], {"axes": [-1, 1], "keepdims": 0}) for op in (
        "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2",
        "ReduceSumSquare", "ReduceLogSumExp")),
    *((op, 18, X, [i(2)], {}) for op in ("ReduceMean", "ReduceMax", "ReduceL2")),
    ("ReduceSum", 13, X, [i(-1)], {}), ("ReduceSum", 13, X, [], {}),
    ("ReduceSum", 13, X, [i()], {"noop_with_empty_axes": 1}), ("ReduceSum", 13, WHOLE, [i(1)], {}),
    *((op, 17, TIES, [], {"axis": a, "keepdims": k, "select_last_index": s})
      for op in ("ArgMax", "ArgMin") for a, k, s in ((0, 1, 0), (-1, 0, 0), (1, 1, 1))),
    ("CumSum", 17, X, [scalar(2, np.int64)], {}),
    ("CumSum", 17, X, [scalar(-1, np.int64)], {"exclusive": 1, "reverse": 1}),
    *((op, 11, X, [], {"axis": a}) for op in ("Softmax", "LogSoftmax") for a in (1, 2, -1)),
    *((op, 13, X, [], {"axis": a}) for op in ("Softmax", "LogSoftmax") for a in (1, -1)),
    ("MatMul", 17, X, [f(5, 6)], {}), ("MatMul", 17, X, [f(3, 5, 2)], {}),
    ("Gemm", 17, f(4, 5), [f(5, 6), f(6)], {"alpha": 0.5, "beta": 2.0}),
    ("Gemm", 11, f(5, 4), [f(6, 5)], {"transA": 1, "transB": 1}),
    ("Einsum", 17, f(2, 3, 4), [f(2, 5, 4)], {"equation": "bij,bkj->bik"}),
    ("Conv", 17, f(1, 4, 9, 8), [f(6, 2, 3, 3), f(6)], {"group": 2, "pads": [1, 1, 1, 1]}),
    ("Conv", 11, f(1, 4, 9, 8), [f(6, 4, 3, 2)], {"strides": [2, 2], "pads": [0, 1, 2, 0]}),
    *(("Conv", 17, f(1, 4, 9, 8), [f(6, 4, 3, 2)], {"strides": [2, 1], "auto_pad": a})
      for a in ("SAME_UPPER", "SAME_LOWER", "VALID")),
    ("Conv", 17, f(1, 4, 9), [f(6, 4, 3)], {"dilations": [2]}),
    ("ConvTranspose", 17, f(1, 4, 5, 6), [f(4, 3, 4, 4), f(3)],
     {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("ConvTranspose", 11, f(1, 4, 5, 6), [f(4, 3, 3, 3)],
     {"strides": [2, 2], "output_padding": [1, 0]}),
    ("MaxPool", 17, X, [], {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1, 1, 1, 1]}),
    ("MaxPool", 11, X, [], {"kernel_shape": [2, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]}),
    ("MaxPool", 17, X, [], {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    ("MaxPool", 17, X, [], {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER"}),
    ("AveragePool", 17, X, [], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("AveragePool", 17, X, [], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ("AveragePool", 17, X, [], {"kernel_shape": [3, 3], "pads": [1] * 4, "count_include_pad": 1}),
    ("BatchNormalization", 17, X, [f(3), f(3), f(3), np.abs(f(3)) + 0.5], {"epsilon": 1e-3}),
    ("InstanceNormalization", 17, X, [f(3), f(3)], {}),
    ("LayerNormalization", 17, X, [f(5), f(5)], {"epsilon": 1e-6}),
    ("LayerNormalization", 17, X, [f(4, 5)], {"axis": -2}),
    *(("Resize", 13, IMAGE, [None, None, i(1, 2, 11, 4)],
       {"mode": m, "coordinate_transformation_mode": c})
      for m in ("linear", "cubic")
      for c in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel")),
    *(("Resize", 13, IMAGE, [None, np.array([1, 1, 2, 2], np.float32)],
       {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": n})
      for n in ("floor", "round_prefer_floor", "ceil")),
    ("Resize", 11, IMAGE, [np.array([], np.float32), np.array([1, 1, 0.6, 1.7], np.float32)],
     {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}),
    ("Resize", 13, IMAGE, [None, np.array([1, 1, 2, 3], np.float32)], {}),
    ("Resize", 18, IMAGE, [None, None, i(10, 14)], {"axes": [2, 3], "mode": "linear"}),
    ("Resize", 10, IMAGE, [np.array([1, 1, 2, 2], np.float32)], {"mode": "nearest"}),
    ("Upsample", 9, IMAGE, [np.array([1, 1, 2, 2], np.float32)], {"mode": "nearest"}),
    ("Shape", 17, X, [], {"start": 1, "end": -1}),
    ("Reshape", 17, X, [i(0, -1, 2)], {}), ("Flatten", 17, X, [], {"axis": 2}),
    ("Transpose", 17, X, [], {"perm": [0, 2, 3, 1]}),
    ("Squeeze", 13, f(1, 3, 1), [i(0)], {}), ("Squeeze", 11, f(1, 3, 1), [], {"axes": [-1]}),
    ("Squeeze", 13, f(1, 3, 1), [], {}), ("Unsqueeze", 13, X, [i(0, -1)], {}),
    ("Unsqueeze", 11, X, [], {"axes": [1]}), ("Concat", 17, X, [f(2, 1, 4, 5)], {"axis": 1}),
    ("Split", 13, X, [i(1, 2)], {"axis": 1, "#": 2}),
    ("Split", 11, X, [], {"axis": 2, "split": [1, 3], "#": 2}),
    ("Split", 13, X, [], {"axis": 2, "#": 2}),
    ("Split", 18, X, [], {"axis": 3, "num_outputs": 2, "#": 2}),
    ("Slice", 17, X, [i(1, 0), i(99, -1), i(1, 3), i(1, 2)], {}),
    ("Slice", 17, X, [i(-1), i(-99), i(2), i(-1)], {}), ("Slice", 17, X, [i(0, 1), i(1, 3)], {}),
    ("Slice", 9, X, [], {"starts": [1], "ends": [2**63 - 1], "axes": [3]}),
    ("Gather", 17, X, [np.array([[0, -1], [2, 1]])], {"axis": 2}),
    ("Gather", 17, X, [scalar(1, np.int64)], {"axis": 1}),
    ("Gather", 17, f(6), [scalar(-2, np.int64)], {}),
    ("GatherElements", 17, f(3, 4), [np.array([[0, -1, 2, 1]])], {"axis": 1}),
    ("GatherND", 17, X, [np.array([[0, 1], [1, -1]])], {}),
    ("ScatterND", 17, X, [np.array([[0, 1], [1, -1]]), f(2, 4, 5)], {}),
    ("ScatterElements", 17, f(3, 4), [np.array([[0, -1]]), f(1, 2)], {"axis": 1}),
    ("Expand", 17, f(3, 1), [i(2, 1, 6)], {}), ("Tile", 17, f(2, 3), [i(2, 3)], {}),
    ("Pad", 17, X, [i(0, 0, 1, 2, 0, 0, 0, 1), scalar(7)], {}),
    ("Pad", 11, X, [i(0, 0, 1, 2, 0, 0, 0, 1)], {"mode": "reflect"}),
    ("Pad", 13, X, [i(0, 0, 1, 2, 0, 0, 0, 1)], {"mode": "edge"}),
    ("Pad", 18, X, [i(1, 2), None, i(-1)], {}),
    ("Range", 17, scalar(1, np.int64), [scalar(9, np.int64), scalar(3, np.int64)], {}),
    ("ConstantOfShape", 17, i(2, 3), [], {"value": helper.make_tensor("v", 7, [1], [4])}),
    ("ConstantOfShape", 17, i(2, 3), [], {}),
    ("DepthToSpace", 17, f(1, 8, 2, 3), [], {"blocksize": 2}),
    ("DepthToSpace", 17, f(1, 8, 2, 3), [], {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", 17, f(1, 2, 4, 6), [], {"blocksize": 2}),
    ("Trilu", 17, f(4, 5), [scalar(1, np.int64)], {"upper": 0}), ("Trilu", 17, f(4, 5), [], {}),
    ("OneHot", 17, i(0, 2, -1), [scalar(4, np.int64), np.array([0, 5], np.float32)], {}),
    ("TopK", 17, TIES, [i(3)], {"#": 2}), ("TopK", 17, TIES, [i(2)], {"largest": 0, "#": 2}),
    ("TopK", 17, X, [i(2)], {"axis": 1, "#": 2}), ("NonZero", 17, WHOLE, [], {}),
    ("NonMaxSuppression", 11, CORNERS,
     [CLASS_SCORES, scalar(5, np.int64), scalar(0.3), scalar(0.4)], {}),
    ("NonMaxSuppression", 11, CORNERS,
     [CLASS_SCORES, scalar(40, np.int64), scalar(0.1)], {"center_point_box": 1}),
    ("NonMaxSuppression", 11, CORNERS, [CLASS_SCORES], {}),
]  # fmt: skip


def build(op, opset, first, rest, attributes, dtype=None):
    attributes = dict(attributes)
    outputs = [f"y{n}" for n in range(attributes.pop("#", 1))]
    names = ["x"] + ["" if value is None else f"c{n}" for n, value in enumerate(rest)]
    constants = [
        numpy_helper.from_array(value, f"c{n}") for n, value in enumerate(rest) if value is not None
    ]
    graph = helper.make_graph(
        [helper.make_node(op, names, outputs, name="the_node", **attributes)],
        "g",
        [helper.make_tensor_value_info("x", helper.np_dtype_to_tensor_dtype(first.dtype), None)],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def save(model, path):
    onnx.save(onnx.shape_inference.infer_shapes(model), str(path))
    return path


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[1]}")
def test_operator(case, tmp_path, run_onnxruntime, tuple_of):
    path = save(build(*case), tmp_path / "op.onnx")
    given = torch.from_numpy(case[2])
    expected = run_onnxruntime(path, given)
    got = tuple_of(load_onnx(path)(given))
    assert len(got) == len(expected)
    for value, wanted in zip(got, expected, strict=True):
        assert value.numpy().dtype == wanted.dtype
        np.testing.assert_allclose(value.numpy(), wanted, atol=2e-5, rtol=2e-5, strict=True)


def test_every_operator_of_the_table_is_tested():
    assert {case[0] for case in CASES} == set(OPERATORS)


def test_an_unknown_operator_names_itself_the_file_and_the_way_out(tmp_path):
    model = build("Det", 17, f(3, 3), [], {})
    with pytest.raises(WeightsError, match=r"odd\.onnx: operator Det .*runtime='onnxruntime'"):
        load_onnx(save(model, tmp_path / "odd.onnx"))


def test_an_operator_of_another_domain_is_refused_by_name(tmp_path):
    model = build("Relu", 17, X, [], {})
    model.graph.node[0].domain = "com.microsoft"
    onnx.save(model, str(tmp_path / "odd.onnx"))
    with pytest.raises(WeightsError, match=r"operator com\.microsoft\.Relu"):
        load_onnx(tmp_path / "odd.onnx")


def test_an_unsupported_form_names_operator_and_file(tmp_path):
    model = build("GatherND", 17, X, [np.zeros((2, 1), np.int64)], {"batch_dims": 1})
    module = load_onnx(save(model, tmp_path / "odd.onnx"))
    with pytest.raises(WeightsError, match=r"odd\.onnx: operator GatherND \(the_node\) has batch_"):
        module(torch.from_numpy(X))


def test_a_failing_operator_names_itself(tmp_path):
    module = load_onnx(save(build("MatMul", 17, X, [f(5, 6)], {}), tmp_path / "m.onnx"))
    with pytest.raises(WeightsError, match=r"m\.onnx: operator MatMul \(the_node\) failed"):
        module(torch.zeros(2, 3))


def test_wrong_number_of_inputs(tmp_path):
    module = load_onnx(save(build("Relu", 17, X, [], {}), tmp_path / "m.onnx"))
    assert isinstance(module, OnnxModule)
    with pytest.raises(ValueError, match=r"inputs \('x',\), got 2"):
        module(torch.zeros(1), torch.zeros(1))


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08"])
def test_a_file_that_is_no_model(tmp_path, content):
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(WeightsError, match=r"bad\.onnx"):
        load_onnx(tmp_path / "bad.onnx")


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.onnx"):
        load_onnx(tmp_path / "none.onnx")


def test_local_functions_are_inlined(tmp_path, run_onnxruntime):
    model = build("Relu", 17, X, [], {})
    model.functions.append(
        helper.make_function(
            "local", "Swish", ["a"], ["c"],
            [helper.make_node("Sigmoid", ["a"], ["b"]), helper.make_node("Mul", ["a", "b"], ["c"])],
            [helper.make_opsetid("", 17)],
        )
    )  # fmt: skip
    model.opset_import.append(helper.make_opsetid("local", 1))
    model.graph.node[0].op_type, model.graph.node[0].domain = "Swish", "local"
    onnx.save(model, str(tmp_path / "f.onnx"))
    expected = torch.nn.functional.silu(torch.from_numpy(X))
    assert torch.allclose(load_onnx(tmp_path / "f.onnx")(torch.from_numpy(X)), expected)


def test_what_depends_on_no_input_is_computed_once(tmp_path):
    model = build("Add", 17, X, [f(5)], {})
    model.graph.node[0].input[1] = "shifted"
    model.graph.node.insert(0, helper.make_node("Exp", ["c0"], ["shifted"]))
    onnx.save(model, str(tmp_path / "c.onnx"))
    module = load_onnx(tmp_path / "c.onnx")
    assert [node.op for node, _ in module._steps] == ["Add"]
    constant = numpy_helper.to_array(model.graph.initializer[0])
    np.testing.assert_allclose(module(torch.from_numpy(X)).numpy(), X + np.exp(constant), atol=1e-5)


def test_bfloat16_constants(tmp_path):
    weight = helper.make_tensor("c0", TensorProto.BFLOAT16, [3], [0.5, 1.5, -2.0])
    model = build("Cast", 17, X[0, 0, 0, :3], [], {"to": TensorProto.BFLOAT16})
    model.graph.node[0].output[0] = "half"
    model.graph.initializer.append(weight)
    model.graph.node.append(helper.make_node("Mul", ["half", "c0"], ["y0"]))
    onnx.save(model, str(tmp_path / "b.onnx"))
    got = load_onnx(tmp_path / "b.onnx")(torch.tensor([2.0, 2.0, 2.0]))
    assert got.dtype == torch.bfloat16
    assert got.tolist() == [1.0, 3.0, -4.0]

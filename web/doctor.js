// DWPose Doctor: shows the report as text inside a DOM widget.
//
// As web/preview_keypoints.js: a DOM widget shows in the classic canvas renderer and in Vue nodes
// alike, and hooks are set on each node of this one type.

import { app } from "../../scripts/app.js"

const NODE = "DWPose_Doctor"
const UI_KEY = "text" // nodes/doctor.py has it too
const MIN_HEIGHT = 160

// "contain": Vue nodes grow with what is in them, and a report is long; it scrolls instead.
const STYLE = `
.dwpose-doctor { width: 100%; height: 100%; min-height: ${MIN_HEIGHT - 20}px; contain: size;
  margin: 0; padding: 6px 8px; box-sizing: border-box; overflow: auto; border-radius: 4px;
  white-space: pre-wrap; overflow-wrap: anywhere; cursor: text; user-select: text;
  font: 11px/1.4 ui-monospace, Menlo, Consolas, monospace; color: var(--input-text, #ddd);
  background: var(--comfy-input-bg, #222); }
`

function addStyle() {
  if (document.getElementById("dwpose-doctor-style")) return
  const style = document.createElement("style")
  style.id = "dwpose-doctor-style"
  style.textContent = STYLE
  document.head.append(style)
}

/** Run `added` after whatever this one node had under that name. */
function chain(node, name, added) {
  const before = node[name]
  node[name] = function (...args) {
    const result = before?.apply(this, args)
    added.apply(this, args)
    return result
  }
}

const reports = new WeakMap()

function show(node, output) {
  const text = output?.[UI_KEY]?.[0]
  if (typeof text === "string") reports.get(node).textContent = text
}

function attach(node) {
  addStyle()
  const report = document.createElement("pre")
  report.className = "dwpose-doctor"
  report.textContent = "Run the workflow to see the report."
  // Vue nodes leave the wheel to what says so and has the focus.
  report.tabIndex = 0
  report.dataset.captureWheel = "true"
  // Vue nodes start a drag on any press inside the node; here it selects text.
  for (const type of ["pointerdown", "mousedown"]) {
    report.addEventListener(type, (event) => {
      if (event.button === 0) event.stopPropagation()
    })
  }
  reports.set(node, report)
  // Last of the widgets and never saved: values are saved by position.
  const widget = node.addDOMWidget("shown", "DWPOSE_REPORT", report, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => MIN_HEIGHT,
  })
  widget.serialize = false
  chain(node, "onExecuted", (output) => show(node, output))
  chain(node, "onRemoved", () => report.remove())
  const [width, height] = node.size
  node.setSize([Math.max(width, 460), Math.max(height, 380)])
}

/** Show again what ran before, after a workflow was opened or a tab was changed. */
function restore(node) {
  const { graph } = node
  const inside = graph?.rootGraph && graph !== graph.rootGraph // of a subgraph
  const key = inside ? `${graph.id}:${node.id}` : String(node.id)
  show(node, app.nodeOutputs?.[key])
}

app.registerExtension({
  name: "DWPose.Doctor",
  nodeCreated(node) {
    if (node.comfyClass === NODE) attach(node)
  },
  loadedGraphNode(node) {
    if (node.comfyClass === NODE) setTimeout(() => restore(node), 0)
  },
})

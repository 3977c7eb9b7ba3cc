// DWPose Doctor: shows the report as text inside the node.

import { keepPresses, showInNode } from "./in_node.mjs"

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

function make() {
  const element = document.createElement("pre")
  element.className = "dwpose-doctor"
  element.textContent = "Run the workflow to see the report."
  // Vue nodes leave the wheel to what says so and has the focus.
  element.tabIndex = 0
  element.dataset.captureWheel = "true"
  keepPresses(element) // they select text
  return {
    element,
    show(output) {
      const text = output[UI_KEY]?.[0]
      if (typeof text === "string") element.textContent = text
    },
  }
}

showInNode({
  extension: "DWPose.Doctor",
  node: "DWPose_Doctor",
  name: "shown",
  kind: "DWPOSE_REPORT",
  style: STYLE,
  minHeight: MIN_HEIGHT,
  size: [460, 380],
  make,
})

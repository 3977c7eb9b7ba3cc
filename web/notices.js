// The line of text that a node shows ("Using the small built-in model ...") is not a value of it.
//
// ComfyUI's page makes a widget of it, which older pages save among the node's values, by position:
// an input that a later version adds would read it as its own. Newer pages leave it out themselves.

import { app } from "../../scripts/app.js"

const TEXT_WIDGET = "$$node-text-preview"

app.registerExtension({
  name: "DWPose.Notices",
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("DWPose_")) return
    const before = node.addCustomWidget
    node.addCustomWidget = function (widget, ...rest) {
      if (widget?.name === TEXT_WIDGET) widget.serialize = false
      return before.call(this, widget, ...rest)
    }
  },
})

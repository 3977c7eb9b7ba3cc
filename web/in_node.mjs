// What the nodes that show something inside themselves share: style, widget, hooks, old results.
//
// An .mjs, because ComfyUI's page runs every .js it finds by itself. A DOM widget shows in the
// classic canvas renderer and in Vue nodes alike; nothing is drawn on the canvas, and no prototype
// is touched: hooks are set on each node of one type.

import { app } from "../../scripts/app.js"

/** Run `added` after whatever this one node had under that name. */
export function chain(node, name, added) {
  const before = node[name]
  node[name] = function (...args) {
    const result = before?.apply(this, args)
    added.apply(this, args)
    return result
  }
}

/** Vue nodes start a drag on any press inside the node; keep those on this element for itself. */
export function keepPresses(element, options) {
  for (const type of ["pointerdown", "mousedown"]) {
    element.addEventListener(
      type,
      (event) => {
        if (event.button === 0) event.stopPropagation()
      },
      options,
    )
  }
}

function addStyle(id, text) {
  if (document.getElementById(id)) return
  const style = document.createElement("style")
  style.id = id
  style.textContent = text
  document.head.append(style)
}

/**
 * Put an element into a node, last of its widgets and never saved: values are saved by position.
 *
 * `size` is the least width and height of a new node.
 */
function addElement(node, { name, kind, element, minHeight, size }) {
  const widget = node.addDOMWidget(name, kind, element, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => minHeight,
  })
  widget.serialize = false
  node.setSize(node.size.map((side, i) => Math.max(side, size[i])))
}

/** What a node of the open workflow told the page when it ran last. */
function lastOutput(node) {
  const { graph } = node
  const inside = graph?.rootGraph && graph !== graph.rootGraph // of a subgraph
  return app.nodeOutputs?.[inside ? `${graph.id}:${node.id}` : String(node.id)]
}

/**
 * Register an extension that shows each run's output of one node type inside the node.
 *
 * `make(node)` returns `{element, show(output), remove()}`, the last for what is to be let go beside
 * the element; `show` is called with the `executed` message's output, again after a workflow was
 * opened or a tab was changed.
 */
export function showInNode({ extension, node: type, style, make, ...widget }) {
  const views = new WeakMap()
  const left = new Map() // elements of removed nodes, by the node's id
  app.registerExtension({
    name: extension,
    nodeCreated(node) {
      if (node.comfyClass !== type) return
      addStyle(`${extension}.style`, style)
      const view = make(node)
      views.set(node, view)
      addElement(node, { ...widget, element: view.element })
      chain(node, "onExecuted", (output) => output && view.show(output))
      chain(node, "onRemoved", () => {
        left.set(node.id, view.element)
        view.remove?.()
      })
    },
    loadedGraphNode(node) {
      if (node.comfyClass !== type) return
      setTimeout(() => {
        const output = lastOutput(node)
        if (output) views.get(node)?.show(output)
      }, 0)
      // Undo loads the workflow anew, and Vue nodes keep a node's element by its id: the old one.
      const old = left.get(node.id)
      left.delete(node.id)
      setTimeout(() => {
        const element = views.get(node)?.element
        if (old?.isConnected && element && !element.isConnected) old.replaceWith(element)
      }, 100)
    },
  })
}

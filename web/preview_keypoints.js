// Preview Keypoints: draws the pose over the picture as SVG inside the node.

import { api } from "../../scripts/api.js"
import { keepPresses, showInNode } from "./in_node.mjs"

const UI_KEY = "dwpose_preview" // nodes/preview.py has it too
const SVG = "http://www.w3.org/2000/svg"
const MIN_HEIGHT = 220

const STYLE = `
.dwpose-preview { display: flex; flex-direction: column; gap: 4px; width: 100%; height: 100%;
  min-height: 0; box-sizing: border-box; overflow: hidden; font: 12px/1.35 sans-serif;
  color: var(--input-text, #ddd); }
.dwpose-preview .stage { flex: 1 1 0; min-height: 0; width: 100%; border-radius: 4px;
  background: var(--comfy-input-bg, #222); overflow: hidden; display: flex; }
.dwpose-preview svg { flex: 1 1 0; min-width: 0; width: 100%; height: 100%; display: block; }
.dwpose-preview .point { stroke: #000; stroke-opacity: .65; }
.dwpose-preview .hit { fill: transparent; cursor: crosshair; }
.dwpose-preview .hit:hover { stroke: #fff; fill: rgb(255 255 255 / 25%); }
.dwpose-preview .number { font-family: sans-serif; font-weight: 700; fill: #fff; stroke: #000;
  paint-order: stroke; text-anchor: middle; pointer-events: none; }
.dwpose-preview .line { flex: none; display: flex; gap: 8px; align-items: center;
  min-height: 17px; }
.dwpose-preview .info { flex: 1 1 auto; min-width: 0; overflow: hidden; white-space: nowrap;
  text-overflow: ellipsis; font-variant-numeric: tabular-nums; }
.dwpose-preview .frames[hidden] { display: none; }
.dwpose-preview input { flex: 1 1 auto; min-width: 40px; height: 4px; margin: 4px 0;
  appearance: none; border-radius: 2px; background: var(--border-color, #888); cursor: pointer; }
.dwpose-preview input::-webkit-slider-thumb { appearance: none; width: 13px; height: 13px;
  border-radius: 50%; background: var(--p-primary-color, #4a9eff); }
.dwpose-preview input::-moz-range-thumb { width: 13px; height: 13px; border: 0;
  border-radius: 50%; background: var(--p-primary-color, #4a9eff); }
.dwpose-preview .count { flex: none; font-variant-numeric: tabular-nums; }
`

function html(tag, className, text) {
  const element = document.createElement(tag)
  element.className = className
  if (text !== undefined) element.textContent = text
  return element
}

function shape(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
  if (text !== undefined) element.textContent = text
  return element
}

function viewUrl(file) {
  const query = new URLSearchParams({
    filename: file.filename,
    subfolder: file.subfolder ?? "",
    type: file.type ?? "temp",
  })
  return api.apiURL(`/view?${query}`)
}

class Preview {
  constructor() {
    this.gone = new AbortController()
    this.root = html("div", "dwpose-preview")
    this.root.title = ""
    this.stage = html("div", "stage")
    this.info = html("div", "info", "Run the workflow to see the keypoints.")
    this.slider = html("input", "slider")
    Object.assign(this.slider, { type: "range", min: 0, max: 0, value: 0, title: "Frame" })
    this.count = html("span", "count")
    this.frames = html("div", "line frames")
    this.frames.hidden = true
    this.frames.append(this.slider, this.count)
    const bar = html("div", "line")
    bar.append(this.info)
    this.root.append(this.stage, this.frames, bar)

    const signal = this.gone.signal
    this.slider.addEventListener("input", () => this.show(Number(this.slider.value)), { signal })
    keepPresses(this.slider, { signal })
    this.stage.addEventListener("pointerover", (event) => this.point(event.target), { signal })
    this.stage.addEventListener("pointerleave", () => this.point(null), { signal })
  }

  /** Fetch what the node wrote; `files` are its entries in the executed message, one a clip. */
  async load(files) {
    this.files = files
    try {
      const clips = await Promise.all(files.map((file) => this.fetch(file)))
      if (this.files !== files) return // a later run was quicker
      this.data = { ...clips[0], frames: clips.flatMap((clip) => clip.frames) }
    } catch (error) {
      if (this.gone.signal.aborted || this.files !== files) return
      this.stage.replaceChildren()
      this.frames.hidden = true
      this.say("The preview's files are gone: run the workflow again.")
      return
    }
    const last = this.data.frames.length - 1
    this.frames.hidden = last < 1
    this.slider.max = last
    this.slider.value = Math.min(Number(this.slider.value) || 0, last)
    this.show(Number(this.slider.value))
  }

  /** One clip, each of its frames with the address of its picture. */
  async fetch(file) {
    const response = await fetch(viewUrl(file), { signal: this.gone.signal })
    if (!response.ok) throw new Error(`${response.status}`)
    const clip = await response.json()
    const names = clip.pictures
    clip.frames.forEach((frame, index) => {
      const filename = names[Math.min(index, names.length - 1)]
      if (filename) frame.picture = viewUrl({ ...file, filename })
    })
    return clip
  }

  /** Draw one frame. */
  show(index) {
    const frame = this.data?.frames[index]
    if (!frame) return
    const [width, height] = frame.size
    const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" })
    svg.append(shape("rect", { width, height, fill: "#000", "fill-opacity": 0.35 }))
    if (frame.picture) {
      const href = frame.picture
      svg.append(shape("image", { href, width, height, preserveAspectRatio: "none" }))
    }
    frame.people.forEach((person, number) => this.draw(svg, person, number, width, height))
    this.stage.replaceChildren(svg)
    this.count.textContent = `${index + 1} / ${this.data.frames.length}`
    const people = frame.people.length
    this.summary = people === 0 ? "Nobody in this frame" : people === 1 ? "1 person" : `${people} people`
    this.summary += ` · ${width} × ${height}`
    this.say(this.summary)
  }

  draw(svg, person, number, width, height) {
    const unit = Math.max(width, height) / 1000
    const places = new Map()
    for (const [key, [x, y, score]] of Object.entries(person.points)) {
      places.set(Number(key), { x: x / 10, y: y / 10, score: score / 100 })
    }
    if (!places.size) return
    const fine = (i) => i >= 24 // face and hands
    for (const [a, b, stroke] of this.data.limbs) {
      const from = places.get(a)
      const to = places.get(b)
      if (!from || !to) continue
      const line = { x1: from.x, y1: from.y, x2: to.x, y2: to.y, stroke }
      svg.append(
        shape("line", {
          ...line,
          "stroke-width": (fine(b) ? 2 : 6) * unit,
          "stroke-linecap": "round",
          "stroke-opacity": 0.75,
        }),
      )
    }
    const who = person.id === null || person.id < 0 ? `Person ${number}` : `Person ${number} (id ${person.id})`
    const hits = []
    for (const [i, { x, y, score }] of places) {
      const r = (i >= 24 && i < 92 ? 1.8 : fine(i) ? 2.4 : 5.5) * unit
      svg.append(
        shape("circle", { class: "point", cx: x, cy: y, r, fill: this.data.dots[i], "stroke-width": unit * 0.6 }),
      )
      const hit = shape("circle", {
        class: "hit",
        cx: x,
        cy: y,
        r: Math.max(r * 1.4, (fine(i) ? 4 : 9) * unit),
        "stroke-width": unit,
      })
      const told = `${this.data.names[i]} (${i}) · score ${score.toFixed(2)} · x ${x.toFixed(1)} y ${y.toFixed(1)}`
      hit.dataset.told = `${who} · ${told}`
      hit.append(shape("title", {}, `${who}\n${told.replaceAll(" · ", "\n")}`))
      hits.push(hit)
    }
    svg.append(...hits)
    svg.append(this.label(person, number, places, unit))
  }

  /** The person's number above the head, with the mean score as a title. */
  label(person, number, places, unit) {
    const head = [0, 14, 15, 16, 17].map((i) => places.get(i)).filter(Boolean)
    const near = head.length ? head : [...places.values()]
    const x = near.reduce((sum, p) => sum + p.x, 0) / near.length
    const wide = Math.max(...near.map((p) => p.x)) - Math.min(...near.map((p) => p.x))
    const size = 34 * unit
    const top = Math.min(...near.map((p) => p.y)) - (head.length ? 0.8 * wide : 0)
    const y = Math.max(top - 0.4 * size, size)
    const text = person.id === null || person.id < 0 ? `${number}` : `${number} #${person.id}`
    return shape("text", { class: "number", x, y, "font-size": size, "stroke-width": 6 * unit }, text)
  }

  point(target) {
    const told = target?.closest?.(".hit")?.dataset.told
    this.say(told ?? this.summary ?? this.info.textContent)
  }

  say(text) {
    this.info.textContent = text
    this.info.title = text
  }

  remove() {
    this.gone.abort()
  }
}

function make() {
  const preview = new Preview()
  return {
    element: preview.root,
    show(output) {
      const files = output[UI_KEY] ?? []
      if (files.length) preview.load(files)
    },
    remove: () => preview.remove(),
  }
}

showInNode({
  extension: "DWPose.PreviewKeypoints",
  node: "DWPose_PreviewKeypoints",
  name: "preview",
  kind: "DWPOSE_PREVIEW",
  style: STYLE,
  minHeight: MIN_HEIGHT,
  size: [340, 420],
  make,
})

// The words people type find our nodes: openpose, skeleton, controlnet ...
//
// Newer cores send such words with each node (nodes/sockets.py, SEARCH). For older ones this adds
// them; and pages that know names alone get the words in the listed name of the main node. The
// node's own title stays as it is.

import { app } from "../../scripts/app.js"

const WORDS = ["openpose", "dwpose", "skeleton", "controlnet", "pose"]
const MAIN = "DWPose_Estimator"
// From here on pages read search_aliases for certain; tried: 1.27 does not, 1.58 does.
const KNOWS_ALIASES = 40

function readsNamesAlone() {
  const [major, minor] = String(window.__COMFYUI_FRONTEND_VERSION__ ?? "").split(".").map(Number)
  return major === 1 && minor < KNOWS_ALIASES
}

app.registerExtension({
  name: "DWPose.Search",
  beforeRegisterVueAppNodeDefs(defs) {
    defs.forEach((def, i) => {
      if (!def.name.startsWith("DWPose_") || def.search_aliases?.length) return
      defs[i] = { ...def, search_aliases: WORDS }
      if (def.name === MAIN && readsNamesAlone()) {
        const others = WORDS.filter((word) => !def.display_name.toLowerCase().includes(word))
        defs[i].display_name = `${def.display_name} (${others.join(", ")})`
      }
    })
  },
})

// Written by `outlast provider install opencode`, removed by `outlast provider uninstall opencode`.
// Tells outlast what opencode does. Outside of a session of outlast it does nothing.
import { spawnSync } from "node:child_process"

// One after the other, so that the last word is the last thing that happened.
const report = (state, message) => {
  const words = ["report", state]
  if (typeof message === "string" && message) words.push("--message", message)
  spawnSync(process.env.OUTLAST_HELPER, words, { stdio: "ignore", timeout: 1000 })
}

export const Outlast = async () => {
  if (!process.env.OUTLAST_HELPER) return {}
  // What one part of the work ends may be waited for by another.
  const busy = new Set()
  const idle = (id) => {
    if (busy.delete(id) && busy.size === 0) report("idle")
  }
  return {
    event: async ({ event }) => {
      const about = event.properties ?? {}
      switch (event.type) {
        case "session.status":
          if (about.status?.type === "idle") return idle(about.sessionID)
          if (!busy.has(about.sessionID)) {
            busy.add(about.sessionID)
            report("working")
          }
          return
        case "session.idle":
          return idle(about.sessionID)
        case "permission.asked":
        case "permission.updated":
          return report("waiting", about.title ?? about.permission)
        case "question.asked":
          return report("waiting", about.questions?.[0]?.question)
        case "permission.replied":
        case "question.replied":
          return report("working")
        case "session.error":
          // Somebody interrupted it, and it waits for more.
          if (about.error?.name === "MessageAbortedError") return idle(about.sessionID)
          busy.delete(about.sessionID)
          return report("error", about.error?.data?.message)
      }
    },
  }
}

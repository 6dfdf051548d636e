// The site's search runs in a worker, and browsers start no worker for a page that was opened from disk.
// There, a hidden frame takes the worker's place: it runs the same script and passes the same messages.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.appendChild(frame)
      this.worker = frame.contentWindow
      window.addEventListener("message", event => {
        if (event.source !== this.worker) return
        const answer = new MessageEvent("message", { data: event.data })
        this.dispatchEvent(answer)
        if (this.onmessage) this.onmessage(answer)
      })
      const page = this.worker.document
      page.open()
      page.write("<script>postMessage = message => parent.postMessage(message, '*')</" + "script>")
      page.write(`<script src="${url}"></` + "script>")
      page.close()
      this.ready = new Promise(done => frame.addEventListener("load", done, { once: true }))
    }

    postMessage(data) {
      this.ready.then(() => this.worker.dispatchEvent(new MessageEvent("message", { data })))
    }

    terminate() {
      this.worker.frameElement.remove()
    }
  }
  window.Worker = window.IFrameWorker
}

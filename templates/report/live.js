// Polls `glue ui` every two seconds for its status, and reloads the page when its content has changed.
const box = document.getElementById("live");
const show = text => { if (box.textContent !== text) box.textContent = text; };
async function look() {
  try {
    const reply = await fetch("live.json");
    const now = await reply.json();
    if (now.stamp !== document.body.dataset.stamp) return location.reload();
    show(now.lines.join(" · "));
  } catch {
    show("glue ui has stopped: this page is no longer updated.");
  }
  setTimeout(look, 2000);
}
look();

// Asks `glue ui` every two seconds what goes on, and loads the page anew when what it shows has changed.
const box = document.getElementById("live");
const show = text => { if (box.textContent !== text) box.textContent = text; };
async function look() {
  try {
    const reply = await fetch("live.json");
    const now = await reply.json();
    if (now.stamp !== document.body.dataset.stamp) return location.reload();
    show(now.lines.join(" · "));
  } catch {
    show("glue ui has ended: this page is as it was.");
  }
  setTimeout(look, 2000);
}
look();

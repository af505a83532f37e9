// The film: each frame sets strength, colour, mark and name of every arc.
(function () {
  "use strict";
  const data = document.querySelector("script.film");
  if (!data) return;
  const section = data.closest("section");
  const { shots, cells } = JSON.parse(data.textContent);
  const pictures = Array.from(section.querySelectorAll("svg.picture"));
  const slider = section.querySelector(".slider"), play = section.querySelector(".play");
  const shot = section.querySelector(".shot");
  const SECONDS = 8, FASTEST = 60, SLOWEST = 600;
  let timer = null;

  function draw(frame) {
    shot.textContent = shots[frame];
    pictures.forEach((picture, number) => {
      const cell = cells[number];
      for (const shape of picture.querySelectorAll("[data-edge]")) {
        const edge = Number(shape.dataset.edge), kept = cell.kept[frame][edge];
        const best = kept >= 0 ? kept : cell.best[frame][edge];
        shape.style.setProperty("--strength", cell.strength[frame][edge] / 1000);
        const role = shape.classList[0];
        shape.setAttribute("class", `${role} op ${cell.families[best]}${kept >= 0 ? " kept" : ""}`);
        if (role === "arc-name") shape.textContent = cell.operations[best];
      }
    });
  }
  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "Play";
  }
  function start() {
    if (Number(slider.value) === shots.length - 1) slider.value = 0;
    draw(Number(slider.value));
    play.textContent = "Pause";
    timer = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      draw(Number(slider.value));
      if (Number(slider.value) === shots.length - 1) stop();
    }, Math.min(SLOWEST, Math.max(FASTEST, (1000 * SECONDS) / shots.length)));
  }
  play.addEventListener("click", () => (timer ? stop() : start()));
  slider.addEventListener("input", () => { stop(); draw(Number(slider.value)); });
  section.querySelector(".controls").hidden = shots.length < 2;
  window.addEventListener("beforeprint", () => draw(shots.length - 1));
})();

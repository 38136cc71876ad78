
for (const curves of document.querySelectorAll(".curves")) {
  const frames = [...curves.querySelectorAll(".frame")];
  const slider = curves.querySelector("input[type=range]");
  const words = curves.querySelector("output");
  const show = () => {
    const axis = curves.querySelector("input[type=radio]:checked").value;
    const shown = slider ? Number(slider.value) : 0;
    frames.forEach((frame, index) => { frame.hidden = index !== shown; });
    for (const figure of curves.querySelectorAll("[data-axis]")) {
      figure.hidden = figure.dataset.axis !== axis;
    }
    if (slider) {
      words.textContent = frames[shown].dataset.words;
      slider.setAttribute("aria-valuetext", frames[shown].dataset.words);
    }
  };
  curves.querySelector(".tools").hidden = false;
  curves.addEventListener("input", show);
  show();
}

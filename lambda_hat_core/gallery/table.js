const table = document.querySelector("#runs");
const body = table.tBodies[0];
const headers = [...table.tHead.rows[0].cells];
const spoken = document.querySelector("#spoken");

const value = (row, column) => {
  const text = row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
  return text === "" ? null : text;
};

// Text is compared part by part, and its numbers as numbers: 1e-05 before 0.01, 30 before 100.
const parts = (text) => text.split(/(\d+(?:\.\d*)?(?:e[-+]?\d+)?)/);

const compare = (a, b) => {
  const [x, y] = [Number(a), Number(b)];
  if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y;
  const [one, other] = [parts(a), parts(b)];
  for (let i = 0; i < Math.min(one.length, other.length); i += 1) {
    const order = i % 2 ? one[i] - other[i] : one[i].localeCompare(other[i]);
    if (order) return order;
  }
  return one.length - other.length;
};

const sort = (column) => {
  const header = headers[column];
  const descending = header.getAttribute("aria-sort") === "ascending";
  const sign = descending ? -1 : 1;
  const rows = [...body.rows].sort((one, other) => {
    const [a, b] = [value(one, column), value(other, column)];
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * compare(a, b);
  });
  body.append(...rows);
  for (const other of headers) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  spoken.textContent = `sorted by ${header.innerText.trim()}, ${descending ? "falling" : "rising"}`;
};

headers.forEach((header, column) => {
  header.querySelector("button").addEventListener("click", () => sort(column));
});

const filter = document.querySelector("#filter");
filter.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of body.rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
    shown += !row.hidden;
  }
  spoken.textContent = words.length ? `${shown} of ${body.rows.length} ${body.rows.length === 1 ? "run" : "runs"} shown` : "";
});

const unfold = () => {
  const aim = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const inside = aim?.closest("details");
  if (!inside) return;
  for (let part = inside; part; part = part.parentElement.closest("details")) part.open = true;
  aim.scrollIntoView();
};
addEventListener("hashchange", unfold);
unfold();

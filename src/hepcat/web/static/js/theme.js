/* Runs in the head before anything is painted, so that the chosen theme does not flash. Classic script.
 * In: localStorage "hepcat.theme" ("light" or "dark"; else the system's). Out: data-theme on <html>. */
try {
  const theme = localStorage.getItem("hepcat.theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {
  /* Storage may be forbidden: then the system's theme is used. */
}

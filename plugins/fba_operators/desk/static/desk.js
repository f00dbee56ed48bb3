"use strict";
// The desk works without this file. It makes three things nicer: the theme is Airflow's, lists follow what is typed, and links
// to other sites open beside Airflow, whose frame allows the desk no windows of its own.
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");

  // Airflow keeps its theme under this key of the same origin: light, dark, or system.
  const kept = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null;
    }
  };
  const isDark = () => (kept() === "dark" || kept() === "light" ? kept() === "dark" : dark.matches);
  const show = () => {
    root.dataset.theme = isDark() ? "dark" : "light";
  };
  show();
  dark.addEventListener("change", show);
  addEventListener("storage", show);

  const follow = (form) => {
    let waiting;
    let asked = 0;
    const ask = async () => {
      const mine = ++asked;
      const query = new URLSearchParams(new FormData(form));
      for (const [name, value] of [...query]) if (!value) query.delete(name);
      const address = `${form.getAttribute("action")}?${query}`;
      const results = document.getElementById("results");
      results.setAttribute("aria-busy", "true");
      try {
        const answer = await fetch(address, { credentials: "same-origin" });
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const found = page.getElementById("results") || page.getElementById("main");
        if (mine !== asked) return;
        if (!answer.ok || !found) throw new Error("no page");
        results.replaceChildren(...found.childNodes);
        history.replaceState(null, "", address);
      } catch {
        if (mine === asked) results.textContent = "There was no answer to this search, or you are not logged in any more: load the page again.";
      } finally {
        if (mine === asked) results.removeAttribute("aria-busy");
      }
    };
    form.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(ask, 250);
    });
  };

  const openBeside = (event) => {
    const link = event.target.closest("a[target=_blank]");
    if (!link || parent === self) return;
    event.preventDefault();
    const outer = parent.document.createElement("a");
    Object.assign(outer, { href: link.href, target: "_blank", rel: "noopener noreferrer" });
    outer.click();
  };

  addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("form[data-live]").forEach(follow);
    document.addEventListener("click", openBeside);
    const button = document.querySelector("[data-theme-switch]");
    const name = () => {
      button.textContent = isDark() ? "Light" : "Dark";
      button.setAttribute("aria-label", `Switch Airflow to its ${isDark() ? "light" : "dark"} theme`);
    };
    name();
    button.hidden = false;
    addEventListener("storage", name);
    button.addEventListener("click", () => {
      try {
        localStorage.setItem("theme", isDark() ? "light" : "dark");
      } catch {
        root.dataset.theme = isDark() ? "light" : "dark";
        return;
      }
      show();
      name();
    });
  });
})();

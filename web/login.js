/** On the page of a one-time link: uses it at once, which following the link alone does not. */

document.querySelector("form")?.requestSubmit();

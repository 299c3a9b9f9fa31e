const health = await (await fetch("/v1/health")).json();
document.getElementById("version").textContent = health.version;

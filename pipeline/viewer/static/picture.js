// What a picture's page shows beside the viewer.
"use strict";
(() => {
  const host = document.getElementById("chart");
  if (host) chart(host, loupe.data.losses, loupe.data.terms, loupe.data.marks);
})();

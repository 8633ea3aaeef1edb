// The fields of a plain form as they were typed: read as they would be sent, and put back.
// Knows forms and folds; when and where the text is kept is the callers' business.
export const typed = (form) => [...new FormData(form).entries()].filter(([name]) => name !== "csrfmiddlewaretoken");

export const unfold = (node) => { for (let fold = node.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true; };

export function fill(form, fields) {
  for (const field of form.elements) {
    const sent = fields.filter(([name]) => name === field.name).map(([, value]) => value);
    if (!field.name || field.name === "csrfmiddlewaretoken" || field.type === "submit") continue;
    if (["checkbox", "radio"].includes(field.type)) field.checked = sent.includes(field.value);
    else if (sent.length) field.value = sent[0];
    if (field.value !== field.defaultValue && field.type !== "hidden") unfold(field);
  }
}

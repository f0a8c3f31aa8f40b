// The rooms of the page, in the order of the menu. A room is one file, rooms/<name>.js, and its name here.

const NAMES = ["state", "jobs", "limits", "audit", "me"];

/**
 * A room exports {title, icon, needs?, inGuild?, open(view, page)}. `needs` is the permission that it asks for, `inGuild`
 * says that a right in one guild is enough. `open` fills the element `view`, and returns a function that ends what it started.
 */
export async function loadRooms() {
  const modules = await Promise.all(NAMES.map((name) => import(`./rooms/${name}.js`)));
  return modules.map((module, at) => ({ name: NAMES[at], ...module.default }));
}

// What a person may see. The server decides; the page only leaves out what the server would refuse.

/** Whether `pattern` (`jobs:run`, `jobs:*` or `*`) includes `permission`. */
export function covers(pattern, permission) {
  return pattern === "*" || pattern === permission || (pattern.endsWith(":*") && permission.startsWith(pattern.slice(0, -1)));
}

/** Whether `me` has `permission` for the whole bot. */
export function may(me, permission) {
  return me.permissions.some((pattern) => covers(pattern, permission));
}

/** The ids of the guilds in which `me` has `permission`. */
export function guildsWith(me, permission) {
  return me.guilds.filter((guild) => guild.permissions.some((pattern) => covers(pattern, permission))).map((guild) => guild.id);
}

/** Whether `me` may open `room`: with its permission for the bot or, where the room says `inGuild`, in any guild. */
export function mayOpen(me, room) {
  return !room.needs || may(me, room.needs) || (room.inGuild && guildsWith(me, room.needs).length > 0);
}

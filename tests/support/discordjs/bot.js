// A bot of discord.js as it comes; only `rest.api` is changed. It tells what it hears, one line of JSON each.
const {
  ActionRowBuilder, ButtonBuilder, ButtonStyle, Client, GatewayIntentBits, LabelBuilder, MessageFlags, ModalBuilder,
  Partials, SlashCommandBuilder, TextInputBuilder, TextInputStyle, ContextMenuCommandBuilder, ApplicationCommandType,
} = require("discord.js");

const { GuildMembers, GuildMessages, GuildMessageReactions, Guilds, MessageContent } = GatewayIntentBits;
const client = new Client({
  intents: [Guilds, GuildMembers, GuildMessages, GuildMessageReactions, MessageContent],
  partials: [Partials.Message, Partials.Channel, Partials.Reaction],
  rest: { api: `${process.argv[2]}/api`, retries: 0 },
});
const tell = (event, more = {}) => process.stdout.write(`${JSON.stringify({ event, ...more })}\n`);
const fail = (error) => { tell("error", { what: String(error.stack) }); process.exit(1); };
process.on("unhandledRejection", fail);
client.on("error", fail);

const ask = new SlashCommandBuilder().setName("ask").setDescription("Ask")
  .addStringOption((option) => option.setName("text").setDescription("Text").setRequired(true).setAutocomplete(true))
  .addUserOption((option) => option.setName("who").setDescription("Who"));
const greet = new ContextMenuCommandBuilder().setName("Greet").setType(ApplicationCommandType.User);

client.once("clientReady", async () => {
  const all = await client.application.commands.set([ask, greet]);
  const guild = client.guilds.cache.first();
  const own = await guild.commands.create({ name: "own", description: "Of this guild" });
  await own.edit({ description: "Changed" });
  const members = await guild.members.fetch();
  tell("ready", { name: client.user.username, commands: all.map((one) => one.name), members: members.size,
    own: (await guild.commands.fetch()).map((one) => one.description) });
});

const onSlash = async (interaction) => {
  await interaction.deferReply();
  const button = new ButtonBuilder().setCustomId("more").setLabel("More").setStyle(ButtonStyle.Primary);
  const sent = await interaction.editReply({
    content: `${interaction.options.getString("text")} for ${interaction.options.getUser("who")?.username}`,
    embeds: [{ title: "An embed", fields: [{ name: "a", value: "b" }] }],
    components: [new ActionRowBuilder().addComponents(button)],
    files: [{ attachment: Buffer.from("abc"), name: "a.txt" }],
  });
  const later = await interaction.followUp({ content: "later", flags: MessageFlags.Ephemeral });
  await interaction.deleteReply(later);
  tell("slash", { content: sent.content, files: sent.attachments.size, locale: interaction.locale });
};
const onButton = async (interaction) => {
  const input = new TextInputBuilder().setCustomId("why").setStyle(TextInputStyle.Short);
  const label = new LabelBuilder().setLabel("Why").setTextInputComponent(input);
  await interaction.showModal(new ModalBuilder().setCustomId("form").setTitle("Form").addLabelComponents(label));
  tell("button", { id: interaction.customId });
};
const onModal = async (interaction) => {
  const why = interaction.fields.getTextInputValue("why");
  await interaction.update({ content: `because ${why}`, components: [] });
  tell("modal", { why });
};
const onMenu = async (interaction) => {
  const reply = await interaction.reply({ content: `hello ${interaction.targetUser}`, withResponse: true });
  tell("menu", { target: interaction.targetUser.username, shown: reply.resource.message.content });
};

client.on("interactionCreate", async (interaction) => {
  if (interaction.isAutocomplete()) await interaction.respond([{ name: "One", value: "one" }]);
  else if (interaction.isUserContextMenuCommand()) await onMenu(interaction);
  else if (interaction.isChatInputCommand()) await onSlash(interaction);
  else if (interaction.isButton()) await onButton(interaction);
  else if (interaction.isModalSubmit()) await onModal(interaction);
});

const moderate = async ({ author, guild, member }) => {
  const role = await guild.roles.create({ name: "Quiet", colors: { primaryColor: "Red" }, permissions: [] });
  await member.roles.add(role);
  await member.timeout(60_000, "too loud");
  await member.setNickname("Quiet Bob");
  await member.roles.remove(role);
  await role.delete();
  await guild.bans.create("900000000000000103", { deleteMessageSeconds: 0, reason: "spam" });
  const logs = await guild.fetchAuditLogs({ limit: 3 });
  const place = await guild.channels.create({ name: "talk", topic: "Talk" });
  const hook = await place.createWebhook({ name: "Hook" });
  await hook.send({ content: "by the hook", username: "Somebody" });
  const invite = await place.createInvite({ maxUses: 1 });
  await place.delete();
  tell("moderated", { user: author.username, until: member.isCommunicationDisabled(), bans: (await guild.bans.fetch()).size,
    invite: invite.maxUses, last: logs.entries.first().reason });
};

client.on("messageCreate", async (message) => {
  if (message.author.bot || !message.content) return;
  await message.react("👍");
  const answer = await message.reply("read");
  await answer.edit("read it");
  const listed = await message.channel.messages.fetch({ limit: 5 });
  await answer.delete();
  await message.pin();
  const pinned = await message.channel.messages.fetchPins();
  const thread = await message.startThread({ name: "About it" });
  await thread.send("in the thread");
  await moderate(message);
  tell("message", { content: message.content, member: message.member.displayName, listed: listed.size,
    pinned: pinned.items.length, thread: thread.isThread() && thread.name });
});
client.on("messageReactionAdd", (reaction, user) => tell("reaction", { emoji: reaction.emoji.name, user: user.id }));
client.on("guildMemberUpdate", (_, member) => tell("member", { roles: member.roles.cache.map((one) => one.name) }));
client.ws.on("RESUMED", () => tell("resumed"));

process.on("SIGTERM", () => client.destroy().then(() => process.exit(0)));
client.login(process.env.TOKEN).catch(fail);

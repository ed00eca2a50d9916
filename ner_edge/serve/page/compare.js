// Where models differ.

/** Identifies an entity: two models agree on one if this is equal. */
function identity({ start, end, label }) {
  return `${start} ${end} ${label}`;
}

/**
 * Returns the differences between the entities of several models, in order: each is a list of
 * {model, entity} that overlap and that not all models found. `found` has the entities per model.
 */
export function differences(found) {
  const counts = new Map();
  for (const entity of found.flat()) {
    counts.set(identity(entity), (counts.get(identity(entity)) ?? 0) + 1);
  }
  const differing = found.flatMap((entities, model) =>
    entities
      .filter((entity) => counts.get(identity(entity)) < found.length)
      .map((entity) => ({ model, entity })),
  );
  differing.sort((one, other) => one.entity.start - other.entity.start);
  const groups = [];
  let end = -1;
  for (const member of differing) {
    if (member.entity.start >= end) groups.push([]);
    groups.at(-1).push(member);
    end = Math.max(end, member.entity.end);
  }
  return groups;
}

/** Says what each of so many models found, in order: `New York (LOC) / nothing`. */
export function describe(difference, models) {
  const parts = Array.from({ length: models }, (_, model) => {
    const found = difference
      .filter((member) => member.model === model)
      .map(({ entity }) => `${entity.text} (${entity.label})`);
    return found.join(", ") || "nothing";
  });
  return parts.join(" / ");
}

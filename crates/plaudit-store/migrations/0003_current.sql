-- What a reader sees: one row a feedback, the latest, none that was withdrawn
-- or retracted. The second condition holds from the moment a retraction is
-- durable, before any tombstone is written.
CREATE VIEW IF NOT EXISTS {database}.feedback_current{on_cluster} AS
SELECT *
FROM {database}.feedback FINAL
WHERE is_deleted = 0
  AND (project, id) {global}NOT IN (SELECT project, id FROM {database}.changes WHERE kind = 'retract');

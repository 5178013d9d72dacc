CREATE TABLE loomline_crons (
    cron_id          uuid        PRIMARY KEY,
    assistant_id     uuid        NOT NULL,
    thread_id        uuid,
    user_id          text        NOT NULL,
    schedule         text        NOT NULL,
    timezone         text,
    end_time         text, -- as the client wrote it
    ends_at          timestamptz,
    payload          json        NOT NULL,
    metadata         jsonb       NOT NULL,
    on_run_completed text,
    enabled          boolean     NOT NULL,
    next_run_date    timestamptz,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL
);

CREATE INDEX loomline_crons_due ON loomline_crons (next_run_date, cron_id)
    WHERE enabled AND next_run_date IS NOT NULL;
CREATE INDEX loomline_crons_of_thread ON loomline_crons (thread_id) WHERE thread_id IS NOT NULL;
CREATE INDEX loomline_crons_of_assistant ON loomline_crons (assistant_id);

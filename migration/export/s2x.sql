CREATE TABLE thoughts (
    thought_bubble_id TEXT PRIMARY KEY,
    title TEXT NOT NULL,
    description TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    color TEXT DEFAULT '#3b82f6',
    position_x REAL DEFAULT 0,
    position_y REAL DEFAULT 0,
    metadata TEXT,
    fields TEXT
);
CREATE TABLE segments (
    segment_id TEXT PRIMARY KEY,
    thought_bubble_id TEXT NOT NULL,
    title TEXT NOT NULL,
    content TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    sort_order INTEGER DEFAULT 0,
    metadata TEXT,
    content_type TEXT,
    abstraction_level TEXT,
    local_priority REAL,
    cluster_id TEXT,
    FOREIGN KEY (thought_bubble_id) REFERENCES thoughts(thought_bubble_id) ON DELETE CASCADE
);
CREATE TABLE tags (
    tag_id TEXT PRIMARY KEY,
    name TEXT UNIQUE NOT NULL,
    color TEXT DEFAULT '#6b7280',
    created_at TEXT NOT NULL
);
CREATE TABLE thought_tags (
    thought_bubble_id TEXT NOT NULL,
    tag_id TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (thought_bubble_id, tag_id),
    FOREIGN KEY (thought_bubble_id) REFERENCES thoughts(thought_bubble_id) ON DELETE CASCADE,
    FOREIGN KEY (tag_id) REFERENCES tags(tag_id) ON DELETE CASCADE
);
CREATE TABLE segment_tags (
    segment_id TEXT NOT NULL,
    tag_id TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (segment_id, tag_id),
    FOREIGN KEY (segment_id) REFERENCES segments(segment_id) ON DELETE CASCADE,
    FOREIGN KEY (tag_id) REFERENCES tags(tag_id) ON DELETE CASCADE
);
CREATE TABLE segment_fields (
    field_id TEXT PRIMARY KEY,
    segment_id TEXT NOT NULL,
    field_name TEXT NOT NULL,
    field_value TEXT,
    field_type TEXT DEFAULT 'text',
    created_at TEXT NOT NULL,
    FOREIGN KEY (segment_id) REFERENCES segments(segment_id) ON DELETE CASCADE
);
CREATE TABLE segment_neighbors (
    source_segment_id TEXT NOT NULL,
    target_segment_id TEXT NOT NULL,
    relationship_type TEXT DEFAULT 'related',
    strength REAL DEFAULT 1.0,
    created_at TEXT NOT NULL,
    metadata TEXT,
    PRIMARY KEY (source_segment_id, target_segment_id, relationship_type),
    FOREIGN KEY (source_segment_id) REFERENCES segments(segment_id) ON DELETE CASCADE,
    FOREIGN KEY (target_segment_id) REFERENCES segments(segment_id) ON DELETE CASCADE
);
CREATE TABLE segment_related_context (
    context_id TEXT PRIMARY KEY,
    segment_id TEXT NOT NULL,
    context_type TEXT NOT NULL,
    context_data TEXT,
    source TEXT,
    created_at TEXT NOT NULL,
    expires_at TEXT,
    FOREIGN KEY (segment_id) REFERENCES segments(segment_id) ON DELETE CASCADE
);
CREATE TABLE segment_llm_history (
    history_id TEXT PRIMARY KEY,
    segment_id TEXT NOT NULL,
    prompt TEXT NOT NULL,
    response TEXT,
    llm_model TEXT NOT NULL,
    interaction_type TEXT DEFAULT 'prompt',
    metadata TEXT,
    created_at TEXT NOT NULL,
    FOREIGN KEY (segment_id) REFERENCES segments(segment_id) ON DELETE CASCADE
);
-- indexes
CREATE INDEX idx_thoughts_created_at ON thoughts(created_at);
CREATE INDEX idx_segments_thought_id ON segments(thought_bubble_id);
CREATE INDEX idx_segments_created_at ON segments(created_at);
CREATE INDEX idx_tags_name ON tags(name);
CREATE INDEX idx_segment_fields_segment_id ON segment_fields(segment_id);
CREATE INDEX idx_segment_fields_name ON segment_fields(field_name);
CREATE INDEX idx_segment_neighbors_source ON segment_neighbors(source_segment_id);
CREATE INDEX idx_segment_neighbors_target ON segment_neighbors(target_segment_id);
CREATE INDEX idx_segment_context_segment_id ON segment_related_context(segment_id);
CREATE INDEX idx_segment_context_type ON segment_related_context(context_type);
CREATE INDEX idx_segment_llm_segment_id ON segment_llm_history(segment_id);

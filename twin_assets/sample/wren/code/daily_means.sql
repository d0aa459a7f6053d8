-- The far side: what the mainland keeps of Skerrow, and how it adds it up.
-- A reading has a natural name, which is its gauge and when its interval began.
-- Send it once, send it nine times: one row.
--
--   sqlite3 skerrow.db < daily_means.sql

PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;

CREATE TABLE IF NOT EXISTS readings (
  gauge              TEXT NOT NULL CHECK (gauge IN ('g1', 'g2', 'g3')),
  interval_start_utc TEXT NOT NULL CHECK (interval_start_utc LIKE '____-__-__T__:__:__Z'),
  interval_s         INTEGER NOT NULL DEFAULT 360,  -- the stamp is the START. The middle is 3 minutes on.
  level_cd_mm        INTEGER,                       -- empty if no reading came. Never nought, never -999.
  gap_reason         TEXT,                          -- one short word: lid, battery, rubbish
  flag               INTEGER NOT NULL DEFAULT 2 CHECK (flag IN (1, 2, 3, 4, 9)),
  revision           INTEGER NOT NULL DEFAULT 0,    -- a correction is a new fact
  PRIMARY KEY (gauge, interval_start_utc, revision),
  CHECK ((level_cd_mm IS NULL) = (flag = 9))        -- an empty crate is not a crate of nothing
);

-- If the same name comes twice with two levels, doing nothing would hide it.
-- There have been two quarrels, and both were mine.
CREATE TABLE IF NOT EXISTS quarrels (
  gauge              TEXT NOT NULL,
  interval_start_utc TEXT NOT NULL,
  revision           INTEGER NOT NULL,
  kept_cd_mm         INTEGER,
  refused_cd_mm      INTEGER,
  seen_utc           TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
);

CREATE TRIGGER IF NOT EXISTS told_twice BEFORE INSERT ON readings
WHEN EXISTS (
  SELECT 1 FROM readings
  WHERE gauge = NEW.gauge AND interval_start_utc = NEW.interval_start_utc AND revision = NEW.revision
)
BEGIN
  INSERT INTO quarrels (gauge, interval_start_utc, revision, kept_cd_mm, refused_cd_mm)
  SELECT gauge, interval_start_utc, revision, level_cd_mm, NEW.level_cd_mm
  FROM readings
  WHERE gauge = NEW.gauge AND interval_start_utc = NEW.interval_start_utc AND revision = NEW.revision
    AND level_cd_mm IS NOT NEW.level_cd_mm;
  SELECT RAISE(IGNORE);  -- the first one stands
END;

-- The latest revision of each reading, and nothing older.
CREATE VIEW IF NOT EXISTS current AS
SELECT * FROM readings AS r
WHERE revision = (
  SELECT MAX(revision) FROM readings
  WHERE gauge = r.gauge AND interval_start_utc = r.interval_start_utc
);

-- A mean with n = 240 and a mean with n = 31 should not be printed in the same
-- ink. Below 200 there is a dash. Bad readings (4) stay out; suspect ones (3)
-- stay in, since the sea has not finished surprising us, and are counted.
CREATE VIEW IF NOT EXISTS daily AS
SELECT gauge,
       substr(interval_start_utc, 1, 10) AS day_utc,
       CASE WHEN COUNT(level_cd_mm) >= 200 THEN CAST(round(AVG(level_cd_mm)) AS INTEGER) ELSE '-' END AS mean_cd_mm,
       COUNT(level_cd_mm)                AS n,
       SUM(flag = 3)                     AS suspect,
       240 - COUNT(*)                    AS never_told
FROM current
WHERE flag <> 4
GROUP BY gauge, day_utc;

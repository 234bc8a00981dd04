-- A table of users for a first try, with the columns of Django's auth_user that the
-- gateway reads, and a user alice. The image of MariaDB has made the database and
-- the account before, with all rights on it; the account keeps what it needs.
CREATE TABLE sesame_example.auth_user (
    id integer AUTO_INCREMENT NOT NULL PRIMARY KEY,
    password varchar(128) NOT NULL,
    last_login datetime(6) NULL,
    username varchar(150) NOT NULL UNIQUE,
    email varchar(254) NOT NULL,
    is_active bool NOT NULL
);

-- A password that starts with ! is one that no user can log in with.
INSERT INTO sesame_example.auth_user (password, username, email, is_active)
VALUES (CONCAT('!', SHA2(RANDOM_BYTES(32), 256)), 'alice', 'alice@example.com', TRUE);

REVOKE ALL PRIVILEGES ON sesame_example.* FROM 'gateway'@'%';
GRANT SELECT (id, username, email, password, is_active, last_login), UPDATE (last_login)
ON sesame_example.auth_user TO 'gateway'@'%';

-- A table of users for a first try, with the columns of Django's auth_user that the
-- gateway reads, a user alice, and the gateway's account. With a database of
-- Django's there is such a table already: grant the account what docs/mysql.md
-- says, and nothing of this file is needed.
CREATE DATABASE sesame_example CHARACTER SET utf8mb4;

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

-- The account may connect from this machine alone.
CREATE USER 'gateway'@'localhost' IDENTIFIED BY 'change me';
GRANT SELECT (id, username, email, password, is_active, last_login), UPDATE (last_login)
ON sesame_example.auth_user TO 'gateway'@'localhost';

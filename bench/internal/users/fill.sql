-- Made-up users with keys from one number to another. The passwords have the
-- form and the length of those that Django hashes.
INSERT INTO `%s` (id, password, last_login, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined)
SELECT seq,
	CONCAT('pbkdf2_sha256$870000$', LEFT(MD5(seq), 22), '$', TO_BASE64(UNHEX(SHA2(seq, 256)))),
	NOW(6), 0, CONCAT('user', LPAD(seq, 9, '0')), 'Firstname', 'Lastname',
	CONCAT('user', seq, '@example.com'), 0, 1, NOW(6)
FROM seq_%d_to_%d

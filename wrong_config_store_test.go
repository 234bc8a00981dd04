package sesame

import "testing"

// TestWrongStoresNamePlaceCauseAndRemedy makes mistakes in the block of userstore.
func TestWrongStoresNamePlaceCauseAndRemedy(t *testing.T) {
	t.Parallel()
	wantWrong(t, []wrongConfig{
		{store: "table app.auth_user.x", line: 6, want: "userstore: table \"app.auth_user.x\" has more parts than database.table: write a name with a dot in backticks"},
		{store: "table ''", line: 6, want: "table: value 1 is in quotes that a Caddyfile doesn't recognize, and that would become part of the value: write \"double quotes\" or `backticks`"},
		{store: "primary_key -", line: 6, want: "userstore: primary_key can't be -: without a primary key no user can be found"},
		{store: "password -", line: 6, want: "insecure configuration: set max_age to a low value: without a column of passwords, nothing else would end a token"},
		{store: "is_staff - x", line: 6, want: "wrong argument count: is_staff takes the name of a column, or -; there are 2: - x. Quote a value that has spaces: \"- x\""},
		{store: "columns", line: 6, want: "wrong argument count: columns takes the name of a column, or several; there is none"},
		{store: "columns password", line: 6, want: "userstore: extra column \"password\" holds the password: it is never passed on"},
		{store: "columns first_name first_name", line: 6, want: "userstore: extra column \"first_name\" is named twice"},
		{store: "columns first_name,last_name", line: 6, want: "userstore: extra column \"first_name,last_name\" has a comma: write several names with spaces between them"},
		{store: "groups a b c d", line: 6, want: "groups: it takes nothing, a table, that and its column with the user, those and its column with the group, or those and a table of groups with its columns for key and name"},
		{store: "permissions a b c", line: 6, want: "wrong argument count: permissions takes nothing, a table, or that and its column with the user; there are 3: a b c. Quote a value that has spaces: permissions a \"b c\""},
		{store: "relation_key", line: 6, want: "wrong argument count: relation_key takes one value, the name of a column; there is none"},
		{store: "relation_key uid", line: 6, want: "userstore: relation_key has no effect without groups or permissions: add one of these options, or remove it"},
		{store: "revocations", line: 6, want: "wrong argument count: revocations takes one value, the name of a table; there is none"},
		{store: "revocations a.b.c", line: 6, want: "userstore: revocations: table \"a.b.c\" has more parts than database.table: write a name with a dot in backticks"},
		{store: "revocations app.", line: 6, want: "userstore: revocations: table \"app.\": a name is missing"},
		{store: "query_timeout 0", line: 6, want: "query_timeout: it must be a duration such as 2s or 5m, not \"0\"; zero isn't allowed: leave the option out for the default"},
		{store: "query_timeout 2", line: 6, want: "query_timeout: it must be a duration such as 2s or 5m, not \"2\"; write the unit: 2s for seconds"},
		{store: "query_timeout 2000", line: 6, want: "query_timeout: it must be a duration such as 2s or 5m, not \"2000\"; write the unit: 2000s for seconds"},
		{store: "max_open_conns 0", line: 6, want: "max_open_conns: it must be a whole number of at least 1, not \"0\""},
		{store: "max_open_conns -1", line: 6, want: "max_open_conns: it must be a whole number of at least 1, not \"-1\""},
		{store: "max_open_conns unlimited", line: 6, want: "max_open_conns: it must be a whole number of at least 1, not \"unlimited\""},
		{store: "max_open_conns 5\nmax_idle_conns 50", line: 7, want: "userstore: max_idle_conns is 50, but max_open_conns allows no more than 5"},
		{store: "max_idle_conns 0", line: 6, want: "max_idle_conns: it must be a whole number of at least 1, not \"0\""},
		{store: "conn_max_lifetime 0", line: 6, want: "conn_max_lifetime: it must be a duration such as 2s or 5m, not \"0\"; zero isn't allowed: leave the option out for the default"},
		{store: "conn_max_lifetime forever", line: 6, want: "conn_max_lifetime: it must be a duration such as 2s or 5m, not \"forever\"; the units are s, m, h and d"},
		{store: "conn_max_idle_time never", line: 6, want: "conn_max_idle_time: it must be a duration such as 2s or 5m, not \"never\"; for none, remove the line"},
		{store: "start_without yes", line: 6, want: "start_without: it must be on or off, not \"yes\"; write on"},
		{store: "start_without mysql", line: 6, want: "start_without: it must be on or off, not \"mysql\""},
		{store: "tls true", line: 6, want: "unrecognized option \"tls\" of userstore; write tls=true behind the database in the dsn, as in tcp(host:3306)/database?tls=true"},
		{store: "ssl on", line: 6, want: "unrecognized option \"ssl\" of userstore; write tls=true behind the database in the dsn, as in tcp(host:3306)/database?tls=true"},
		{store: "replica", line: 6, want: "wrong argument count: replica takes one DSN or more; there is none. A variable {$NAME} that isn't set is no value, and # begins a comment: set the variable, or quote the value"},
		{store: "replica mysql://x@y/z", line: 6, want: "userstore: replica: the DSN number 1: the dsn is written as a URL: write it as user:password@tcp(host:3306)/database, with tcp() around host and port, and without percent-encoding in the password"},
		{store: "replica 10.0.0.2", line: 6, want: "userstore: replica: the DSN number 1: the dsn can't be read: invalid DSN: missing the slash separating the database name; write user:password@tcp(host:3306)/database"},
		{store: "replica \"\"", line: 6, want: "replica has an empty value; is an environment variable missing?"},
		{store: "dsn \"gateway:pw@tcp(db:3306)/app\"", line: 6, want: "userstore: dsn is already set in line 5"},
		{options: "require group editors", line: 3, want: "require group editors: the store doesn't read groups; add that to userstore"},
		{options: "identity {\nX-G {http.auth.user.groups}\n}", line: 4, want: "identity X-G: {http.auth.user.groups}: the store doesn't read them; add groups to userstore"},
	})
}

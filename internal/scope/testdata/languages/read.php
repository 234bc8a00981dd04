<?php
// Reads hexadecimal queries, one a line, and prints how PHP reads the parameter
// id of each: "id" as $_GET has it.
ini_set('display_errors', '0');
while (($line = fgets(STDIN)) !== false) {
	parse_str(hex2bin(trim($line)), $get);
	$id = $get['id'] ?? null;
	echo json_encode(['$_GET' => is_string($id) ? bin2hex($id) : null]), "\n";
}

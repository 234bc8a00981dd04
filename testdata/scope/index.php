<?php
// An application that finds its report by REQUEST_URI, as front controllers do,
// or by $_GET.
$path = [];
foreach (explode('/', rawurldecode(explode('?', $_SERVER['REQUEST_URI'])[0])) as $segment) {
	if ($segment === '..') {
		array_pop($path);
	} elseif ($segment !== '' && $segment !== '.') {
		$path[] = $segment;
	}
}
$id = $_GET['id'] ?? 'none';
echo 'report ', end($path), ' id ', is_array($id) ? 'of a list' : $id;

<?php
declare(strict_types=1);

// An application: KEYS_URL=… AUDIENCE=… KEYS_DIR=… php -S 127.0.0.1:PORT app.php

require __DIR__ . '/Assertions.php';

$assertions = new Assertions(getenv('KEYS_URL'), getenv('AUDIENCE'), getenv('KEYS_DIR'));
header('Content-Type: text/plain');
try {
    $claims = $assertions->verify($_SERVER['HTTP_AUTHORIZATION'] ?? null);
    echo "user {$claims['sub']}, ", $claims['preferred_username'] ?? '', "\n";
} catch (Refused $refused) {
    http_response_code(401);
    echo "refused: {$refused->getMessage()}\n";
}

curl -X POST https://exec0.run/api/v1/execute \
  -H "Authorization: Bearer exec0_abc123" \
  -H "Content-Type: application/json" \
  -d '{
    "language": "javascript",
    "code": "console.log(\"Hello, World!\");"
  }'

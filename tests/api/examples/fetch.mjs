const response = await fetch('https://exec0.run/api/v1/execute', {
  method: 'POST',
  headers: {
    'Authorization': 'Bearer exec0_abc123',
    'Content-Type': 'application/json',
  },
  body: JSON.stringify({
    language: 'javascript',
    code: 'console.log("Hello, World!");'
  })
});

const result = await response.json();

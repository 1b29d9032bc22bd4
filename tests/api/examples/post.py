import requests

response = requests.post(
    'https://exec0.run/api/v1/execute',
    headers={'Authorization': 'Bearer exec0_abc123'},
    json={
        'language': 'javascript',
        'code': 'console.log("Hello, World!");'
    }
)

result = response.json()

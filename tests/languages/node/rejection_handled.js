process.on('unhandledRejection', (error) => console.log('unhandled', error.message));
Promise.reject(new Error('nope'));
setTimeout(() => console.log('ok'), 10);

// Nobody catches what an ES module throws after an await.
import 'fs';
await 1;
throw new Error('esm boom');

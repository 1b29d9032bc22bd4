import fs from 'fs';

export default typeof fs.readFileSync;
export const x = await Promise.resolve(5);
export const later = new Promise((resolve) => { setTimeout(resolve, 2, 'later'); });

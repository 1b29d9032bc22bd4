// The file does not parse.
let = = 5;

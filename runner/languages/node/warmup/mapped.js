// A throw-away program as a transpiler makes it, with a source map; see script.js.
"use strict";
Object.defineProperty(exports, "__esModule", {
    value: true
});
const _path = /*#__PURE__*/ _interop_require_wildcard(require("path"));
const _util = require("util");
function _getRequireWildcardCache(nodeInterop) {
    if (typeof WeakMap !== "function") return null;
    var cacheBabelInterop = new WeakMap();
    var cacheNodeInterop = new WeakMap();
    return (_getRequireWildcardCache = function(nodeInterop) {
        return nodeInterop ? cacheNodeInterop : cacheBabelInterop;
    })(nodeInterop);
}
function _interop_require_wildcard(obj, nodeInterop) {
    if (!nodeInterop && obj && obj.__esModule) return obj;
    if (obj === null || typeof obj !== "object" && typeof obj !== "function") return {
        default: obj
    };
    var cache = _getRequireWildcardCache(nodeInterop);
    if (cache && cache.has(obj)) return cache.get(obj);
    var newObj = {
        __proto__: null
    };
    var hasPropertyDescriptor = Object.defineProperty && Object.getOwnPropertyDescriptor;
    for(var key in obj){
        if (key !== "default" && Object.prototype.hasOwnProperty.call(obj, key)) {
            var desc = hasPropertyDescriptor ? Object.getOwnPropertyDescriptor(obj, key) : null;
            if (desc && (desc.get || desc.set)) Object.defineProperty(newObj, key, desc);
            else newObj[key] = obj[key];
        }
    }
    newObj.default = obj;
    if (cache) cache.set(obj, newObj);
    return newObj;
}
var Kind = /*#__PURE__*/ function(Kind) {
    Kind[Kind["A"] = 0] = "A";
    Kind[Kind["B"] = 1] = "B";
    return Kind;
}(Kind || {});
let Failure = class Failure extends Error {
    constructor(kind){
        super(Kind[kind]), this.kind = kind;
    }
};
function fail(kind) {
    throw new Failure(kind);
}
try {
    fail(1);
} catch (error) {
    console.log(String(error.stack).length, _path.sep, (0, _util.inspect)(1));
}

//# sourceMappingURL=data:application/json;base64,eyJ2ZXJzaW9uIjozLCJzb3VyY2VzIjpbIm1hcHBlZC50cyJdLCJzb3VyY2VzQ29udGVudCI6WyJpbXBvcnQgKiBhcyBwYXRoIGZyb20gJ3BhdGgnO1xuaW1wb3J0IHsgaW5zcGVjdCB9IGZyb20gJ3V0aWwnO1xuZW51bSBLaW5kIHsgQSwgQiB9XG5jbGFzcyBGYWlsdXJlIGV4dGVuZHMgRXJyb3IgeyBjb25zdHJ1Y3RvcihyZWFkb25seSBraW5kOiBLaW5kKSB7IHN1cGVyKEtpbmRba2luZF0pOyB9IH1cbmZ1bmN0aW9uIGZhaWwoa2luZDogS2luZCk6IG5ldmVyIHsgdGhyb3cgbmV3IEZhaWx1cmUoa2luZCk7IH1cbnRyeSB7IGZhaWwoS2luZC5CKTsgfSBjYXRjaCAoZXJyb3IpIHsgY29uc29sZS5sb2coU3RyaW5nKChlcnJvciBhcyBFcnJvcikuc3RhY2spLmxlbmd0aCwgcGF0aC5zZXAsIGluc3BlY3QoMSkpOyB9XG5leHBvcnQge307XG4iXSwibmFtZXMiOlsiS2luZCIsIkZhaWx1cmUiLCJFcnJvciIsImtpbmQiLCJmYWlsIiwiZXJyb3IiLCJjb25zb2xlIiwibG9nIiwiU3RyaW5nIiwic3RhY2siLCJsZW5ndGgiLCJwYXRoIiwic2VwIiwiaW5zcGVjdCJdLCJtYXBwaW5ncyI6Ijs7Ozs4REFBc0I7c0JBQ0U7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7Ozs7QUFDeEIsSUFBQSxBQUFLQSw4QkFBQUE7OztXQUFBQTtFQUFBQTtBQUNMLElBQUEsQUFBTUMsVUFBTixNQUFNQSxnQkFBZ0JDO0lBQVEsWUFBWSxBQUFTQyxJQUFVLENBQUU7UUFBRSxLQUFLLENBQUNILElBQUksQ0FBQ0csS0FBSyxRQUE5QkEsT0FBQUE7SUFBaUM7QUFBRTtBQUN0RixTQUFTQyxLQUFLRCxJQUFVO0lBQVcsTUFBTSxJQUFJRixRQUFRRTtBQUFPO0FBQzVELElBQUk7SUFBRUM7QUFBYyxFQUFFLE9BQU9DLE9BQU87SUFBRUMsUUFBUUMsR0FBRyxDQUFDQyxPQUFPLEFBQUNILE1BQWdCSSxLQUFLLEVBQUVDLE1BQU0sRUFBRUMsTUFBS0MsR0FBRyxFQUFFQyxJQUFBQSxhQUFPLEVBQUM7QUFBSyJ9

/**
 * The page at an address where there is none.
 *
 * In: nothing of the address. Out: the head of every page; the links below it stand in the document. What can
 * go wrong: nothing.
 */
import { shell } from "./shell.js";

shell("missing");

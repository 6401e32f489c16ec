-- where things do not add up; no row when all is well
select * from books;
